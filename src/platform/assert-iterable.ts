/** Refuses what has no items: `Array.from()` and spreading take a number or a misspelt object for something empty. */
import { inspect } from 'node:util'
import { invalidArgument } from '../errors.ts'

/**
 * @param what - the beginning of the message: `Cannot put items`
 * @throws TypeError when `value` is not iterable.
 */
export function assertIterable(what: string, value: unknown): asserts value is Iterable<unknown> {
  if (typeof (value as Partial<Iterable<unknown>> | null | undefined)?.[Symbol.iterator] === 'function')
    return
  throw invalidArgument(
    TypeError,
    `${what}: they must be in an array or another iterable, got ${inspect(value, { depth: 0 })}\nTo fix: pass [item, item]`,
  )
}
