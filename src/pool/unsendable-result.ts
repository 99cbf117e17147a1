/** How a worker tells that a result cannot be sent: with the path to the value at fault, and a short picture of it. */
import { inspect } from 'node:util'
import { MaybeEncodingError, SerializeError } from '../errors.ts'

/** The failure of an item whose result `encode()` has refused with `error`. */
export function unsendableResult(value: unknown, error: unknown): MaybeEncodingError {
  const shown = inspect(value, { depth: 0, breakLength: Infinity, maxStringLength: 80 }).slice(0, 200)
  const reason = error instanceof Error ? error.message : String(error)
  return new MaybeEncodingError(`The result of the task cannot be sent back: ${reason}`, {
    value: shown,
    cause: error,
    ...(error instanceof SerializeError ? { path: error.path } : {}),
  })
}
