/** The tasks that took longest, so that they can be looked at. Invariant: at most five are kept, the longest first. */

/** A task that took long. */
export interface LongTask {
  /** The name of its function. */
  name: string
  /** Index of the item; `undefined` for `apply`. */
  index: number | undefined
  /** More than 1 where quick items were timed together: one of so many from `index` on took that long. */
  count: number
  durationMs: number
  /** A short form of its arguments. */
  arguments: string
}

/** Shorter ones are not worth a look. */
const durationMsMin = 1
const tasksMax = 5

export class LongestTasks<Task extends { durationMs: number } = LongTask> {
  #tasks: Task[] = []

  /** How long a task must have taken to be among them. Compared for every item, so it is a plain number. */
  thresholdMs = durationMsMin

  get tasks(): readonly Task[] {
    return this.#tasks
  }

  add(task: Task): void {
    if (task.durationMs <= this.thresholdMs) return
    this.#tasks = [...this.#tasks, task].toSorted((a, b) => b.durationMs - a.durationMs).slice(0, tasksMax)
    if (this.#tasks.length === tasksMax) this.thresholdMs = this.#tasks.at(-1)!.durationMs
  }
}
