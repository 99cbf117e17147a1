/** The time that a part of all tasks did not exceed, from how many took how long. */
import { msOfStep } from '../pool/task-activity.ts'

/** `times`: how many tasks there are at each step of time. `null` when there are none. */
export function percentile(times: ReadonlyMap<number, number>, part: number): number | null {
  let all = 0
  for (const tasks of times.values()) all += tasks
  if (all === 0) return null
  let below = 0
  for (const [step, tasks] of [...times].toSorted(([a], [b]) => a - b)) {
    below += tasks
    if (below >= all * part) return msOfStep(step)
  }
  throw new Error(`This is a bug in multiproc, please report it: ${part} of ${all} tasks`)
}
