/**
 * Does something at the end of what runs now, before anything else has its turn. As queueMicrotask(), which makes an
 * object with hooks for each call (some twenty calls of functions); it runs in the same asynchronous context. An error
 * is an unhandled rejection instead of an uncaught exception.
 */
export function microtask(work: () => void): void {
  void resolved.then(work)
}

const resolved = Promise.resolve()
