/**
 * A module that starts a process when it is imported, and is imported by that process to find its target, would
 * start processes without end. While a child imports what its parent sent, it may start none.
 */
import { invalidState } from '../errors.ts'
import { processState } from './process-state.ts'

/** Runs `work`, which imports modules of the user's, with the guard up. */
export async function whileImporting<T>(work: () => T | PromiseLike<T>): Promise<T> {
  processState.importDepth++
  try {
    return await work()
  } finally {
    processState.importDepth--
  }
}

/** Throws `ERR_INVALID_STATE` while this child still imports what it needs to begin. */
export function assertNotImporting(): void {
  if (processState.importDepth === 0) return
  throw invalidState(
    `Cannot start a process while process "${processState.name}" is still importing its modules: ` +
      'one of them starts a process when it is imported, and each new process would import it ' +
      'again, without end\n' +
      'To fix: start processes in the main file of the program, or inside a function, and not at ' +
      'the top level of a module that exports a target',
  )
}
