/** How the members of an item become the arguments of a task's function. */
import { invalidArgument } from '../errors.ts'

/** @throws TypeError for an item of `starmap` that has no members. */
export function argumentsIn(item: unknown): Iterable<unknown> {
  if (typeof (item as Iterable<unknown> | null | undefined)?.[Symbol.iterator] === 'function')
    return item as Iterable<unknown>
  throw invalidArgument(
    TypeError,
    `An item of starmap must be an array of arguments, but it is ${item === null ? 'null' : `of the type ${typeof item}`}\n` +
      'To fix: pass arrays, such as [[1, 2], [3, 4]], or use map for a function of one argument',
  )
}
