/**
 * Captured variables given by hand, for runtimes and permissions under which they cannot be read. Functions are known
 * by identity, and are not changed.
 */
import { invalidArgument } from '../../errors.ts'

const capturesOf = new WeakMap<object, Readonly<Record<string, unknown>>>()

/**
 * Says which values the variables of a function's surroundings have, where the library cannot find out itself: under
 * `--permission`, or in a Node.js without inspector. Elsewhere it is not needed; the given values are used all the same.
 *
 * @param fn - the function that will be sent
 * @param captures - the values by the names of the variables
 * @returns the same function
 * @throws TypeError when `fn` is no function or `captures` no object.
 *
 * @example
 * ```ts
 * import { Pool, withCaptures } from 'multiproc'
 *
 * const factor = 3
 * const pool = new Pool(2)
 * console.log(await pool.map(withCaptures((x: number) => x * factor, { factor }), [1, 2])) // [ 3, 6 ]
 * await pool.terminate()
 * ```
 */
export function withCaptures<Fn extends (...args: never[]) => unknown>(
  fn: Fn,
  captures: Readonly<Record<string, unknown>>,
): Fn {
  if (typeof fn !== 'function') {
    throw invalidArgument(
      TypeError,
      `withCaptures() takes a function, but got ${typeof fn}\nTo fix: pass the function that will be sent`,
    )
  }
  if (typeof captures !== 'object' || captures === null) {
    throw invalidArgument(
      TypeError,
      'withCaptures() takes an object of values by name\nTo fix: pass the variables as { name, other }',
    )
  }
  capturesOf.set(fn, { ...captures })
  return fn
}

/** What was given for this function. */
export function givenCaptures(fn: object): Readonly<Record<string, unknown>> | undefined {
  return capturesOf.get(fn)
}
