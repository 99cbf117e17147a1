/**
 * Calls a listener of the user, whose errors must not harm the work that it only listens to. Invariant: whatever it
 * throws becomes one warning, after which it is not called again.
 */
import { AsyncResource } from 'node:async_hooks'

/** `listen` in the async context of this call, with its errors as warnings. `name` is that of the option. */
export function callListener<Args extends unknown[]>(
  name: string,
  listen: (...args: Args) => unknown,
): (...args: Args) => void {
  const inContext = AsyncResource.bind(listen)
  let hasFailed = false
  const failed = (reason: unknown): void => {
    if (hasFailed) return
    hasFailed = true
    const warning = new Error(
      `The listener "${name}" of a pool's call failed: ${reason instanceof Error ? reason.message : String(reason)}\nIt is not called again; the call itself goes on\nTo fix: catch errors in the listener`,
      { cause: reason },
    )
    warning.name = 'ListenerWarning'
    if (reason instanceof Error && reason.stack !== undefined)
      warning.stack = `${warning.name}: ${warning.message}\n${reason.stack}`
    process.emitWarning(warning)
  }
  return (...args) => {
    if (hasFailed) return
    try {
      const later = inContext(...args)
      // An async listener that rejects, unheard, would end the program.
      if (later instanceof Promise) later.catch(failed)
    } catch (reason) {
      failed(reason)
    }
  }
}
