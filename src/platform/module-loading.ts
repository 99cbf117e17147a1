/**
 * Lets whoever could end this thread know while modules are being loaded in it: Node.js 20 and some of 22 leave the
 * files open that a thread was reading when it was terminated.
 */

/** Told when the first of several modules that load at the same time begins, and when the last one has ended. */
export interface LoadingWatcher {
  begin(): void
  end(): void
}

let watcher: LoadingWatcher | undefined
let count = 0

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
    if (--count === 0) watcher?.end()
  }
}
