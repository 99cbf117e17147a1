/**
 * What workers say of their items: measured, charged to the account of its job, and delivered. Invariant: after each of
 * these the pool is told, because there may be room for something else.
 */
import { learnSize } from './chunk-policy.ts'
import type { Part } from './job.ts'
import { totalBytes } from './protocol.ts'
import { learnRun } from './scheduler.ts'
import type { TaskActivity } from './task-activity.ts'
import type { TaskOutcomes } from './task-outcomes.ts'
import { deliverReport } from './task-report.ts'
import type { RunnerEvents, WorkerRunner } from './worker-runner.ts'

export type OutcomeEvents = Pick<
  RunnerEvents,
  | 'onResults'
  | 'onFailure'
  | 'onReport'
  | 'onSkipped'
  | 'onRecalled'
  | 'onDiedElsewhere'
  | 'onTimedOutElsewhere'
  | 'onAgain'
>

export interface OutcomeEventsOptions {
  outcomes: TaskOutcomes
  /** While somebody watches. */
  activityOf(): TaskActivity | undefined
  giveBack(parts: Part[]): void
  afterOutcome(runner: WorkerRunner): void
}

/** Those of one worker, whose runner is there when the first of them happens. */
export function outcomeEvents(
  runnerOf: () => WorkerRunner,
  { outcomes, activityOf, giveBack, afterOutcome }: OutcomeEventsOptions,
): OutcomeEvents {
  const followed =
    <Run>(act: (runner: WorkerRunner, run: Run) => void) =>
    (run: Run): void => {
      const runner = runnerOf()
      act(runner, run)
      afterOutcome(runner)
    }
  return {
    onResults: followed((runner, run) => {
      const { chunk, count, elapsedMs, bodies } = run
      // What could be loaded once is not to blame when workers are killed, now and then, while they load it.
      chunk.task.fatalLoads = 0
      learnRun(chunk, count, elapsedMs)
      const bytes = totalBytes(bodies)
      learnSize(chunk.task, count, bytes)
      runner.insights.returned(count, elapsedMs, bytes)
      activityOf()?.ran(runner.name, chunk, { count, elapsedMs })
      outcomes.received(runner, run)
    }),
    onFailure: followed((runner, run) => {
      const { chunk, elapsedMs, body } = run
      learnRun(chunk, 1, elapsedMs)
      runner.insights.threw(elapsedMs, totalBytes([body]))
      activityOf()?.ran(runner.name, chunk, { count: 1, elapsedMs, hasFailed: true })
      outcomes.failed(runner, run)
    }),
    onReport: deliverReport,
    onSkipped: followed((runner, run) => outcomes.skipped(runner, run)),
    onRecalled: followed((_runner, { parts }) => {
      const relay = parts[0]?.job.relay
      // One that is whole goes to another worker; what was cut off would have to be taken apart.
      if (relay && parts[0]!.packed === undefined) relay.again(parts)
      else giveBack(parts)
    }),
    onDiedElsewhere: followed((runner, run) => outcomes.diedElsewhere(runner, run)),
    onTimedOutElsewhere: run => outcomes.timedOutElsewhere(runnerOf(), run),
    onAgain: followed((runner, run) => outcomes.againElsewhere(runner, run)),
  }
}
