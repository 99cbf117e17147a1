/** What can be a key of a manager's dict, or be in its set: what is the same value after a journey. */
import { ProcessError, invalidArgument } from '../errors.ts'
import { BaseProxy } from './base-proxy.ts'

/** A key of a {@link DictProxy}, or a value of a {@link SetProxy}. */
export type ManagedKey = string | number | bigint | boolean | symbol | null | undefined

/** @throws TypeError for an object: it arrives as a copy, which is no key of anything. */
export function assertKey(key: unknown, what: 'key' | 'value'): asserts key is ManagedKey {
  // A proxy is one object in the server, however often it arrives.
  if ((typeof key !== 'object' || key === null || key instanceof BaseProxy) && typeof key !== 'function')
    return
  throw invalidArgument(
    TypeError,
    `Cannot use ${Array.isArray(key) ? 'an array' : typeof key === 'function' ? 'a function' : 'an object'} as a ${what} there: it would arrive as a copy, which is equal to nothing\n` +
      'To fix: use a string, a number or another primitive value, such as JSON.stringify(it)',
  )
}

/** For what Python raises a KeyError, or an AttributeError of a namespace. */
export function noSuchKey(what: string, toFix: string): ProcessError {
  return new ProcessError('ERR_NOT_FOUND', `${what}\nTo fix: ${toFix}`)
}

/** A function that changes a value in the server. It must be done when it returns, so that nobody comes in between. */
export function changed<T>(change: (value: T) => T, value: T): T {
  const result = change(value)
  if (typeof (result as { then?: unknown } | null)?.then === 'function') {
    throw invalidArgument(
      TypeError,
      'Cannot update with an async function: others would come in between\n' +
        'To fix: pass a function that returns the new value, or hold a lock of the manager meanwhile',
    )
  }
  return result
}
