/** Listening to a signal of the user's, which may be given to any number of calls. */
import { setMaxListeners } from 'node:events'

/**
 * Calls `aborted` when the signal is aborted. The caller takes it off again when it does not matter any more, or says
 * `until` when it does.
 * Node.js before 22 takes more than ten listeners of one signal for a leak, and warns; later versions do not.
 */
export function onAbort(
  signal: AbortSignal,
  aborted: () => void,
  { until }: { until?: AbortSignal } = {},
): void {
  setMaxListeners(0, signal)
  signal.addEventListener('abort', aborted, { once: true, ...(until ? { signal: until } : {}) })
}
