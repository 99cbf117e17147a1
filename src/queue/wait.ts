/** wait(): until one of several things is ready. It takes nothing from any of them. */
import type { Readable } from 'node:stream'
import { invalidArgument } from '../errors.ts'
import { assertIterable } from '../platform/assert-iterable.ts'
import type { WaitOptions } from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { type Readiness, readiness } from './waitable.ts'
import { TIMER_MS_MAX } from '../platform/long-timer.ts'
import { onAbort } from '../platform/on-abort.ts'

/**
 * What `wait()` takes: ends of pipes, queues and connections (ready when receiving would not wait), a listener (ready
 * when `accept()` would not wait), a process that was started or
 * its `sentinel` (ready when it has ended), any promise (ready when it has settled), and a readable stream such as a
 * socket (ready when there is something to read, or it has ended).
 */
export type Waitable = { [readiness](): Readiness } | PromiseLike<unknown> | Readable

/**
 * Waits until at least one of the objects is ready, as Python's `multiprocessing.connection.wait`.
 *
 * @returns those that are ready, in the order of `objects`; none when the timeout came first. A timeout of 0 or less
 * only looks.
 * @throws TypeError for an object that cannot be waited for; the signal's reason.
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.connection.wait
 *
 * @example
 * ```ts
 * import { Pipe, wait } from 'multiproc'
 *
 * const [reader, writer] = Pipe<number>({ duplex: false })
 * await writer.send(1)
 * for (const ready of await wait([reader])) console.log(await ready.recv()) // 1
 * ```
 */
export async function wait<T extends Waitable>(
  objects: Iterable<T>,
  options: WaitOptions = {},
): Promise<T[]> {
  assertKnownOptions('wait()', options, ['timeout', 'signal'])
  const { timeout, signal } = options
  if (timeout !== undefined && (typeof timeout !== 'number' || Number.isNaN(timeout))) {
    throw invalidArgument(
      TypeError,
      `Cannot wait: "timeout" must be a number of milliseconds, got ${String(timeout)}\nTo fix: pass a number`,
    )
  }
  signal?.throwIfAborted()
  assertIterable('Cannot wait for these objects', objects)
  const given = Array.from(objects, object => ({ object, state: readinessOf(object) }))
  const ready = (): T[] => given.filter(({ state }) => state.isReady()).map(({ object }) => object)
  // A promise that has settled says so in a later step.
  await Promise.resolve()
  await Promise.resolve()
  if (timeout !== undefined && timeout <= 0 && given.some(({ state }) => state.needsTurn)) await turnOnce()
  signal?.throwIfAborted()
  const until = performance.now() + (timeout ?? Infinity)
  for (;;) {
    const now = ready()
    const leftMs = until - performance.now()
    if (now.length > 0 || leftMs <= 0 || given.length === 0) return now
    // Somebody else may take what was there before it is looked at here: then it is waited for again.
    await untilChanged(given, { timeout: leftMs, signal })
  }
}

/** Until the event loop has looked at all sockets. */
function turnOnce(): Promise<void> {
  return new Promise(resolve => setImmediate(() => setImmediate(resolve)))
}

/** Until one of the objects may be ready, or the time has passed. */
async function untilChanged(
  given: readonly { object: object; state: Readiness }[],
  { timeout, signal }: WaitOptions,
): Promise<void> {
  const stop = new AbortController()
  try {
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => resolve()
      for (const { object, state } of given) {
        state.changed?.(settle, stop.signal)
        const attempt = (): { value: void } | 'wait' => (state.isReady() ? { value: undefined } : 'wait')
        // Rejected when the object is closed meanwhile, which is as good as ready.
        state.line?.wait(object, attempt, { signal: stop.signal }, () => {}).then(settle, settle)
      }
      if (signal) onAbort(signal, () => reject(signal.reason as Error), { until: stop.signal })
      startTimer(timeout, settle, stop.signal)
    })
  } finally {
    stop.abort()
  }
}

function startTimer(timeout: number | undefined, expired: () => void, stop: AbortSignal): void {
  if (timeout === undefined || timeout === Infinity) return
  const step = Math.min(timeout, TIMER_MS_MAX)
  const timer = setTimeout(
    () => (timeout > step ? startTimer(timeout - step, expired, stop) : expired()),
    step,
  )
  stop.addEventListener('abort', () => clearTimeout(timer), { once: true })
}

function readinessOf(object: Waitable): Readiness {
  if (typeof object === 'object' && object !== null) {
    if (readiness in object) return object[readiness]()
    if ('then' in object && typeof object.then === 'function') return promiseReadiness(object)
    if ('readableLength' in object && typeof object.once === 'function') return streamReadiness(object)
  }
  throw invalidArgument(
    TypeError,
    `Cannot wait for ${named(object)}\n` +
      'To fix: pass queues, ends of pipes, processes, promises or readable streams',
  )
}

function named(value: unknown): string {
  if (value === null) return 'null'
  return /^[aeiou]/.test(typeof value) ? `an ${typeof value}` : `a ${typeof value}`
}

function promiseReadiness(promise: PromiseLike<unknown>): Readiness {
  let isSettled = false
  const settled = (): void => {
    isSettled = true
  }
  promise.then(settled, settled)
  return { isReady: () => isSettled, changed: onChange => void promise.then(onChange, onChange) }
}

function streamReadiness(stream: Readable): Readiness {
  return {
    isReady: () => stream.readableLength > 0 || stream.readableEnded || stream.destroyed,
    changed: (onChange, stop) => {
      const events = ['readable', 'end', 'close', 'error']
      for (const event of events) stream.on(event, onChange)
      stop.addEventListener('abort', () => events.forEach(event => stream.off(event, onChange)), {
        once: true,
      })
    },
  }
}
