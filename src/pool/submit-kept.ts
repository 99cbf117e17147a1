/** Makes a call of a pool one with which other programs can go on: everything that they need is in bytes now. */
import { ProcessError, invalidArgument } from '../errors.ts'
import { onAbort } from '../platform/on-abort.ts'
import { type AsyncResult, rejectResult } from './async-result.ts'
import { carriedBytes } from './carried-call.ts'
import { FunctionEncoder } from './function-encoder.ts'
import type { ShippedFunction } from './function-table.ts'
import { type Input, isAsyncInput } from './input-reader.ts'
import type { KeptCall } from './kept-call.ts'
import { KeptMap, type KeptMapHooks, encodeContent } from './kept-map.ts'
import type { PoolCore } from './pool-core.ts'
import type { CallMode } from './protocol.ts'
import { type Called, atCaller } from './ship-call.ts'
import type { TaskLimits } from './task-limits.ts'

/** A call as it was checked. */
export interface CallToKeep {
  fn: (...args: never[]) => unknown
  task: ShippedFunction
  input: Input<unknown>
  limits: TaskLimits
  chunkSize: number | undefined
  into: unknown
  mode: CallMode
  isSettled: boolean
  method: Called
}

const nothing = new Uint8Array()

/** @throws ProcessError `ERR_NOT_SUPPORTED`, TypeError, SerializeError. */
export function submitKept(
  core: PoolCore,
  jobId: string,
  { fn, task, input, limits, chunkSize, into, mode, isSettled, method }: CallToKeep,
  { result, hooks }: { result: AsyncResult<unknown>; hooks: KeptMapHooks },
): KeptMap {
  const { elsewhere } = core.options
  if (!elsewhere || into !== undefined) {
    throw new ProcessError(
      'ERR_NOT_SUPPORTED',
      elsewhere
        ? 'A call with a "jobId" cannot put its results into a typed array\nTo fix: leave out "into", and copy the results into one'
        : 'The option "jobId" is for pools on a cluster, where the work goes on without its program\nTo fix: leave it out, or make a pool on a cluster: new Pool({ cluster, name })',
    )
  }
  if (isAsyncInput(input)) {
    throw invalidArgument(
      TypeError,
      'The items of a call with a "jobId" must be an array or an iterable, but they are an async iterable\nTo fix: collect them before the call: await Array.fromAsync(items)',
    )
  }
  const items = Array.from(input)
  const { bundles: given = [] } = elsewhere.settings
  const bundles = given.map(({ hash, url, byteLength }) => ({ hash, url, byteLength }))
  const call: KeptCall = {
    head: { mode, isSettled, taskName: task.name, items: items.length, chunkSize, bundles },
    task: task.body.bytes,
    taskByValue: new FunctionEncoder(core).encodeByValue(fn)?.bytes ?? nothing,
    content: atCaller(method, () => encodeContent(items, limits)),
    stores: carriedBytes(method) ?? nothing,
  }
  const map = KeptMap.submit(
    elsewhere.settings,
    { jobId, call, items, limits },
    { result, hooks, source: fn },
  )
  const { signal } = hooks.guards ?? {}
  if (signal) {
    // Also while it is being stored.
    const callOff = (): void => {
      map.callOff(signal.reason)
      rejectResult(result, signal.reason)
    }
    onAbort(signal, callOff)
    void map.ended.finally(() => signal.removeEventListener('abort', callOff))
    if (signal.aborted) callOff()
  }
  return map
}
