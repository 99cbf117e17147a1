/**
 * What a tool in a worker does around tasks: it gives them the context of their call, and tells of them itself.
 * Invariant: what the tool throws is never the failure of a task.
 */
import type { Carrier } from './carrier.ts'

/** Tasks of one call that one worker runs one after the other: a single one, or those of a map in one chunk. */
export interface TasksBegun {
  /** The name of the function. */
  name: string
  workerName: string
  /** Index of the first item; `undefined` for a single call. */
  index: number | undefined
  count: number
  attempt: number
  /** What the call was given. */
  carrier: Readonly<Carrier>
}

/** What is around these tasks. */
export interface TaskScope {
  /** Whether the tool tells of them itself, so that the parent need not. */
  readonly isTold: boolean
  /** Runs one of them, or all. */
  run<T>(tasks: () => T): T
  /** One of them has thrown; told before the next one begins. */
  threw(reason: unknown): void
  /** All have ended. */
  end(): void
}

/** Called before the first of the tasks. */
export type TaskTool = (tasks: TasksBegun) => TaskScope | undefined

let current: TaskTool | undefined

/** The tool of this process or thread, if there is one. */
export function taskTool(): TaskTool | undefined {
  return current
}

export function setTaskTool(tool: TaskTool | undefined): void {
  current = tool
}

/** What the tool puts around these tasks, if there is one. */
export function beginTasks(tasks: TasksBegun): TaskScope | undefined {
  try {
    return current?.(tasks)
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error))
    return undefined
  }
}

/** Runs one of the tasks. The scope learns of its failure, also when that comes later. */
export function runInScope(scope: TaskScope | undefined, task: () => unknown): unknown {
  if (!scope) return task()
  const threw = (reason: unknown): never => {
    scope.threw(reason)
    throw reason
  }
  let result: unknown
  try {
    result = scope.run(task)
  } catch (reason) {
    return threw(reason)
  }
  return isThenable(result) ? result.then(undefined, threw) : result
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}
