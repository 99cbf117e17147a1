/** The part of `multiproc run` that runs in the process: loads the function, calls it, and says what it returned. */
import { type TaskLocation, loadTask } from './load-task.ts'
import { formatResult } from './result-text.ts'
import { UsageError } from './usage-error.ts'

export interface RunRequest {
  task: TaskLocation
  args: readonly unknown[]
  output: 'json' | 'text' | 'none'
}

/** What it returned as text, `undefined` when that is not to be printed; or why it cannot be called. */
export type RunOutcome = { text: string | undefined } | { usageError: string }

/** The target of the process. What the function throws is the process's end. */
export async function runTask({ task: location, args, output }: RunRequest): Promise<RunOutcome> {
  let task
  try {
    task = await loadTask(location)
  } catch (error) {
    if (error instanceof UsageError) return { usageError: error.message }
    throw error
  }
  const value = await task(...args)
  return { text: value === undefined || output === 'none' ? undefined : formatResult(value, output) }
}
