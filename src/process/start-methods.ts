/** Start methods: which there are, and which one is this program's default. The default is fixed once. */
import { invalidArgument, invalidState } from '../errors.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import type { StartMethod } from './child-boot.ts'
import { processState } from './process-state.ts'

const START_METHODS: readonly StartMethod[] = ['spawn', 'thread']

const REFUSED: Record<string, [why: string, fix: string]> = {
  fork: [
    'a copy of a running Node.js process has none of its threads (V8, libuv), and hangs or crashes when it needs one',
    'use "spawn", which starts a fresh process and sends it what it needs, or "thread"',
  ],
  forkserver: ['it is not available yet', 'use "spawn" or "thread"'],
}

/** Throws unless `method` is one of the start methods. */
export function assertStartMethod(method: unknown): asserts method is StartMethod {
  if (START_METHODS.includes(method as StartMethod)) return
  const [why, fix] = REFUSED[String(method)] ?? [
    'there is no such method',
    `use ${START_METHODS.map(name => `"${name}"`).join(' or ')}`,
  ]
  throw invalidArgument(
    TypeError,
    `Cannot use the start method ${typeof method === 'string' ? JSON.stringify(method) : String(method)}: ${why}\nTo fix: ${fix}`,
  )
}

/**
 * The start methods of this system, the default first.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.get_all_start_methods
 *
 * @example
 * ```ts
 * import { getAllStartMethods } from 'multiproc'
 *
 * console.log(getAllStartMethods()) // [ 'spawn', 'thread' ]
 * ```
 */
export function getAllStartMethods(): StartMethod[] {
  return [...START_METHODS]
}

/**
 * The start method of processes and pools that name none. The first call fixes it, so that it cannot change
 * afterwards.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.get_start_method
 */
export function getStartMethod(): StartMethod
/** With `allowNone`, nothing is fixed, and `null` says that nothing has been. */
export function getStartMethod(options: { allowNone: boolean }): StartMethod | null
export function getStartMethod(options: { allowNone?: boolean } = {}): StartMethod | null {
  assertKnownOptions('getStartMethod()', options, ['allowNone'])
  const { allowNone = false } = options
  if (allowNone) return processState.startMethod ?? null
  return (processState.startMethod ??= START_METHODS[0]!)
}

/**
 * Fixes the start method of processes and pools that name none. Call it once, at the beginning of the main program.
 * A child has the method that it was started with.
 *
 * @param method - `spawn` (processes, the default), `thread`, or `null` (with `force`) to unfix it
 * @throws TypeError for an unknown method; ProcessError `ERR_INVALID_STATE` when it is fixed already, unless
 * `force` is given.
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.set_start_method
 *
 * @example
 * ```ts
 * import { Process, setStartMethod } from 'multiproc'
 *
 * setStartMethod('thread')
 * const child = new Process({ target: () => console.log('in a thread') })
 * child.start()
 * await child.join()
 * ```
 */
export function setStartMethod(method: StartMethod | null, options: { force?: boolean } = {}): void {
  assertKnownOptions('setStartMethod()', options, ['force'])
  const { force = false } = options
  if (!(method === null && force)) assertStartMethod(method)
  if (processState.startMethod !== undefined && !force) {
    throw invalidState(
      `Cannot set the start method to "${method}": it is fixed to "${processState.startMethod}" ` +
        'already, by an earlier call or by the first process that was started\n' +
        'To fix: call setStartMethod() once, before anything is started, or use ' +
        `getContext("${method}")`,
    )
  }
  processState.startMethod = method ?? undefined
}
