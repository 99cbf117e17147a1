/** The key that both sides of a connection have to know. It is copied, and never part of a message or an inspection. */
import { invalidArgument } from '../errors.ts'

/** A secret: bytes, or text, which counts as its UTF-8. Use 32 random bytes: a word that can be guessed protects nothing. */
export type AuthKey = string | Uint8Array

/**
 * The bytes of a key.
 *
 * @throws TypeError for anything else.
 */
export function authKeyBytes(key: AuthKey | undefined): Buffer | undefined {
  if (key === undefined) return undefined
  if (typeof key === 'string') return Buffer.from(key, 'utf8')
  if (key instanceof Uint8Array) return Buffer.from(key)
  throw invalidArgument(
    TypeError,
    `"authKey" must be a string or a Uint8Array, got ${key === null ? 'null' : `a ${typeof key}`}\n` +
      'To fix: pass the same secret on both sides, or currentProcess().authKey within one program',
  )
}
