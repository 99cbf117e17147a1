/**
 * What a call passes on to workers: its function, and its arguments as they are at this moment. Invariant: what cannot
 * be sent is an error of the call, with the caller's stack, before anything has gone out.
 */
import { SerializeError } from '../errors.ts'
import type { CallArguments } from './call-job.ts'
import type { ShippedFunction } from './function-table.ts'
import type { PoolCore } from './pool-core.ts'
import { checkFunction } from './pool-options.ts'
import { encodeBody } from './protocol.ts'

/** A method or constructor of ours that a user has called. */
export type Called = ((...args: never[]) => unknown) | (abstract new (...args: never[]) => object)

/** Does `work`; an error about what the caller passed has the caller's stack, and not that of our inside. */
export function atCaller<T>(called: Called, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof SerializeError) Error.captureStackTrace(error, called)
    throw error
  }
}

/** @throws TypeError for what is no function, ClosedError or BrokenPoolError for a pool that takes no work. */
export function assertTakes(core: PoolCore, fn: unknown): void {
  checkFunction('The first argument', fn)
  core.assertRunning()
}

/** @throws as `assertTakes`, SerializeError, and what a reducer of the user throws. */
export function shipFunction(
  core: PoolCore,
  fn: (...args: never[]) => unknown,
  called: Called,
): ShippedFunction {
  assertTakes(core, fn)
  return core.functions.ship(
    fn,
    atCaller(called, () => core.encodeFunction(fn)),
  )
}

/** @throws SerializeError, and what a reducer of the user throws. */
export function copyArguments(
  core: PoolCore,
  args: readonly unknown[],
  { task, method }: { task: ShippedFunction; method: Called },
): CallArguments {
  const copy = [...args]
  // What cannot change is encoded later, together with the arguments of other calls.
  const body = copy.every(isConstant)
    ? undefined
    : atCaller(method, () =>
        encodeBody(copy, core, { rootName: `arguments of ${task.name}`, isReadOften: true }),
      )
  return { args: copy, body }
}

/** A longer text is encoded at the call, so that one which is too long for a message is an error there. */
const constantTextMax = 4096

/** Whether a value is its own copy, and can always be sent. */
function isConstant(value: unknown): boolean {
  switch (typeof value) {
    case 'number':
    case 'boolean':
    case 'undefined':
      return true
    case 'string':
      return value.length <= constantTextMax
    default:
      return value === null
  }
}
