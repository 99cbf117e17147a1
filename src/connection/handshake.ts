/**
 * The challenge by which both sides of a connection show each other that they know the key: the one of Python 3.12 and
 * later. See "Handshake" in README.md, whose steps the functions carry out.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { AuthenticationError } from '../errors.ts'

/** What is random in a challenge. Python has 40, and takes less than 20 for a mistake. */
const CHALLENGE_BYTES = 40
const CHALLENGE_BYTES_MIN = 20
/** Challenges of Python 3.11 and older have this length and no digest, and want HMAC-MD5. */
const LEGACY_CHALLENGE_BYTES = 20
/** No message before the end of the handshake is longer. As in Python. */
export const HANDSHAKE_MESSAGE_BYTES_MAX = 256

const CHALLENGE = Buffer.from('#CHALLENGE#')
const WELCOME = Buffer.from('#WELCOME#')
const FAILURE = Buffer.from('#FAILURE#')

/** Python's names of the digests that are accepted, and those of node:crypto. MD5 is not among them. */
const DIGESTS: ReadonlyMap<string, string> = new Map([
  ['sha256', 'sha256'],
  ['sha384', 'sha384'],
  ['sha3_256', 'sha3-256'],
  ['sha3_384', 'sha3-384'],
])
const PREFIX = /^\{(\w{1,16})\}/

/** Whole messages to and from the other side. */
export interface HandshakeChannel {
  send(message: Uint8Array): void
  /** Rejects when the other side is gone, or sends a longer one than {@link HANDSHAKE_MESSAGE_BYTES_MAX}. */
  receive(): Promise<Buffer>
}

/** The side that was connected to asks first. */
export async function authenticateClient(channel: HandshakeChannel, key: Uint8Array): Promise<void> {
  await deliverChallenge(channel, key)
  await answerChallenge(channel, key)
}

/** The side that connects answers first, so that the other one tells nothing to strangers. */
export async function authenticateListener(channel: HandshakeChannel, key: Uint8Array): Promise<void> {
  await answerChallenge(channel, key)
  await deliverChallenge(channel, key)
}

/** Asks the other side to show that it has the key. */
export async function deliverChallenge(channel: HandshakeChannel, key: Uint8Array): Promise<void> {
  const challenge = newChallenge()
  channel.send(Buffer.concat([CHALLENGE, challenge]))
  const response = await channel.receive()
  const problem = problemOf(key, challenge, response)
  if (problem === undefined) {
    channel.send(WELCOME)
    return
  }
  channel.send(FAILURE)
  throw refused(problem)
}

/** Shows the other side that this one has the key. */
export async function answerChallenge(channel: HandshakeChannel, key: Uint8Array): Promise<void> {
  const message = await channel.receive()
  if (!isChallenge(message)) throw refused('it does not ask for a key as multiproc and Python do')
  channel.send(createResponse(key, message.subarray(CHALLENGE.length)))
  const verdict = await channel.receive()
  if (verdict.equals(WELCOME)) return
  if (verdict.equals(FAILURE)) throw refused('it has another key')
  throw refused('it does not answer as multiproc and Python do')
}

/** Whether somebody wants to be shown a key. */
export function isChallenge(message: Uint8Array): boolean {
  return Buffer.compare(message.subarray(0, CHALLENGE.length), CHALLENGE) === 0
}

/** Random bytes behind the name of a digest, which the response covers, too. */
export function newChallenge(digest = 'sha256'): Buffer {
  return Buffer.concat([Buffer.from(`{${digest}}`), randomBytes(CHALLENGE_BYTES)])
}

/**
 * What somebody with the key says to a challenge.
 *
 * @throws AuthenticationError for a challenge with a digest that is not accepted, or without one.
 */
export function createResponse(key: Uint8Array, challenge: Uint8Array): Buffer {
  if (challenge.length < CHALLENGE_BYTES_MIN) throw refused('its challenge is too short')
  const { name, algorithm } = digestOf(challenge)
  const mac = createHmac(algorithm, key).update(challenge).digest()
  return Buffer.concat([Buffer.from(`{${name}}`), mac])
}

/** Throws unless the response is that of somebody with the key. Takes as long for a response that is almost right. */
export function verifyResponse(key: Uint8Array, challenge: Uint8Array, response: Uint8Array): void {
  const problem = problemOf(key, challenge, response)
  if (problem !== undefined) throw refused(problem)
}

function problemOf(key: Uint8Array, challenge: Uint8Array, response: Uint8Array): string | undefined {
  let digest: Digest
  try {
    digest = digestOf(response)
  } catch (error) {
    return (error as { reason?: string }).reason ?? 'its response cannot be read'
  }
  const expected = createHmac(digest.algorithm, key).update(challenge).digest()
  const mac = response.subarray(digest.prefixBytes)
  return mac.length === expected.length && timingSafeEqual(mac, expected) ? undefined : 'it has another key'
}

interface Digest {
  name: string
  algorithm: string
  prefixBytes: number
}

function digestOf(message: Uint8Array): Digest {
  const [prefix, name] = PREFIX.exec(Buffer.from(message.subarray(0, 32)).toString('latin1')) ?? []
  const algorithm = name === undefined ? undefined : DIGESTS.get(name)
  if (prefix !== undefined && name !== undefined && algorithm !== undefined)
    return { name, algorithm, prefixBytes: prefix.length }
  if (message.length === LEGACY_CHALLENGE_BYTES || message.length === 16 || name === 'md5')
    throw refused('it uses MD5, as Python 3.11 and older do')
  throw refused('it names no digest that is accepted')
}

function refused(reason: string): AuthenticationError {
  return new AuthenticationError(
    `The other side of the connection was refused: ${reason}\n` +
      `To fix: pass the same "authKey" to both sides; of Python, use 3.12 or later`,
    { reason },
  )
}
