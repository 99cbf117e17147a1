/**
 * Lets whoever could end this thread know while modules are being loaded in it: Node.js 20 and some of 22 leave the
 * files open that a thread was reading when it was terminated.
 */
import { isMainThread } from 'node:worker_threads'

/** Told when the first of several modules that load at the same time begins, and when the last one has ended. */
export interface LoadingWatcher {
  begin(): void
  end(): void
}

/** A module may compute or wait without end while it is loaded. */
const LOADING_MS_MAX = 15_000

let watcher: LoadingWatcher | undefined
let count = 0
const waiting: (() => void)[] = []

/** Called once, by a thread that can be terminated. */
export function watchModuleLoading(by: LoadingWatcher): void {
  watcher = by
}

/** Every import of a module that the library makes for its user goes through here. */
export async function whileLoadingModule<T>(load: () => Promise<T>): Promise<T> {
  if (count++ === 0) watcher?.begin()
  try {
    return await load()
  } finally {
    if (--count === 0) {
      watcher?.end()
      for (const go of waiting.splice(0)) go()
    }
  }
}

/** Ends this process, or this thread when the modules are loaded that it is loading. */
export function exitWhenLoaded(exitCode: number): void {
  if (isMainThread || count === 0) process.exit(exitCode)
  const exit = (): never => process.exit(exitCode)
  waiting.push(exit)
  setTimeout(exit, LOADING_MS_MAX)
}
