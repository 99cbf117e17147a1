/**
 * A run of `multiproc map`: takes what the pool gives, writes it, and decides when to stop. Invariant: what was taken is
 * written and logged before the run ends, however it ends.
 */
import { InterruptedError, ProcessError, TimeoutError, WorkerDiedError } from '../errors.ts'
import { type ProgressEntry, showProgress } from '../insights/progress-display.ts'
import { type ProgressCounts, ProgressMeter } from '../insights/progress-meter.ts'
import { EXIT_FAILED, EXIT_OK } from './exit-codes.ts'
import { FailureReport } from './failure-report.ts'
import { isHalt } from './halt-policy.ts'
import { logItem } from './job-log.ts'
import type { MapInputs } from './map-inputs.ts'
import type { MapSettings } from './map-options.ts'
import type { ItemOutcome } from './map-worker.ts'
import type { MapPool } from './open-map-pool.ts'
import type { Results } from './open-results.ts'
import { resultRecord } from './result-record.ts'
import { StopRequest } from './stop-request.ts'

export class MapRun {
  readonly #settings: MapSettings
  readonly #pool: MapPool
  readonly #inputs: MapInputs
  readonly #results: Results
  readonly #failures = new FailureReport()
  readonly #stop = new StopRequest()
  /** Of an earlier run, and not to be run again. */
  readonly #failedEarlier: number
  #progress: ProgressEntry | undefined
  #done = 0
  #isHalted = false

  constructor(
    settings: MapSettings,
    { pool, inputs, results }: { pool: MapPool; inputs: MapInputs; results: Results },
  ) {
    this.#settings = settings
    this.#pool = pool
    this.#inputs = inputs
    this.#results = results
    this.#failedEarlier = results.finished?.failedCount ?? 0
  }

  /** Runs it, ends the pool, and gives the exit code. */
  async run(): Promise<number> {
    const { input } = this.#settings
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      // The reader (such as "head") has what it wanted.
      if (error.code === 'EPIPE') this.#stop.stop('output closed')
      else throw error
    })
    if (input.given === undefined && input.from === undefined && process.stdin.isTTY) {
      process.stderr.write('Reading inputs from the terminal, one a line; Ctrl-D ends them\n')
    }
    let fatal: unknown
    try {
      if (this.#showsProgress()) {
        // Results and failures are written where the bar was.
        this.#progress = showProgress(new ProgressMeter(() => this.#counts()), { isCleared: true })
      }
      await this.#consume()
    } catch (error) {
      // What went wrong with the whole run and not with an item: workers cannot start, the input cannot be read.
      if (!this.#stop.signal.aborted) fatal = error
    } finally {
      this.#progress?.end()
      await this.#pool.pool.terminate()
    }
    const { sink, log } = this.#results
    try {
      await sink.end()
      log?.close()
    } catch (error) {
      fatal ??= error
    }
    return this.#conclude(fatal)
  }

  async #consume(): Promise<void> {
    const { pool, runItem } = this.#pool
    const { chunkSize, isUnordered, timeoutMs, retries, retryDelayMs } = this.#settings
    const options = { chunkSize, timeout: timeoutMs, retries: { limit: retries, delay: retryDelayMs } }
    const items = this.#inputs.items()
    const outcomes = isUnordered
      ? pool.imapUnordered(runItem, items, options)
      : pool.imap(runItem, items, options)
    const { signal } = this.#stop
    const { sink } = this.#results
    for (;;) {
      let outcome: ItemOutcome
      try {
        const next = await outcomes.next({ signal })
        if (next.done === true) return
        outcome = next.value
      } catch (error) {
        if (signal.aborted) throw error
        outcome = this.#outcomeOf(error)
      }
      this.#settle(outcome)
      if (sink.isFull) await sink.drained(signal)
    }
  }

  /** What became of an item that did not come to its end in a worker. Throws what is about more than an item. */
  #outcomeOf(error: unknown): ItemOutcome {
    if (error instanceof WorkerDiedError && error.taskIndex !== undefined) {
      return [error.taskIndex, null, { error: describeDeath(error), place: '' }]
    }
    if (error instanceof TimeoutError && error.taskIndex !== undefined) {
      return [
        error.taskIndex,
        null,
        { error: `it took longer than ${this.#settings.timeoutMs} ms`, place: '' },
      ]
    }
    throw error
  }

  #settle([position, line, failed, timing]: ItemOutcome): void {
    const {
      output,
      input: { kind },
      joblog,
      halt,
    } = this.#settings
    const input = this.#inputs.take(position)
    const failure = failed ?? undefined
    this.#done++
    if (failure !== undefined) this.#failures.add(input, failure)
    const written = output === 'records' ? resultRecord(input, { kind, line, failure }) : (line ?? undefined)
    const entry = joblog === undefined ? undefined : logItem(input, { failure, timing })
    this.#results.sink.write({ number: input.number, line: written, entry })
    if (this.#isHalted || !isHalt(halt, { failed: this.#failures.count, finished: this.#done })) return
    this.#isHalted = true
    if (halt.when === 'now') this.#stop.stop('too many failures')
    else this.#inputs.stop()
  }

  #conclude(fatal: unknown): number {
    const { reason } = this.#stop
    if (reason === 'output closed' && fatal === undefined) return EXIT_OK
    const failed = this.#failures.count
    const isInterrupted = reason instanceof InterruptedError
    const lines: string[] = []
    if (fatal !== undefined) lines.push(`multiproc: ${describeFatal(fatal)}\n`)
    if (isInterrupted) {
      const hint = this.#settings.joblog === undefined ? '' : '; the same command with --resume goes on'
      lines.push(`Interrupted: ${this.#done} ${this.#done === 1 ? 'item was' : 'items were'} done${hint}\n`)
    } else if (this.#isHalted) {
      lines.push(`Stopped after ${failed} ${failed === 1 ? 'failure' : 'failures'}\n`)
    }
    lines.push(this.#failures.text(this.#done))
    if (this.#failedEarlier > 0) {
      lines.push(
        `${this.#failedEarlier} ${this.#failedEarlier === 1 ? 'item' : 'items'} failed in an earlier run; --retry-failed runs ${this.#failedEarlier === 1 ? 'it' : 'them'} again\n`,
      )
    }
    process.stderr.write(lines.join(''))
    if (isInterrupted) return reason.exitCode
    return fatal === undefined && failed + this.#failedEarlier === 0 ? EXIT_OK : EXIT_FAILED
  }

  // Results on the same terminal would run through the bar.
  #showsProgress(): boolean {
    const isBeside = this.#settings.target.is !== 'stdout' || !process.stdout.isTTY
    return this.#settings.showsProgress ?? (process.stderr.isTTY && isBeside)
  }

  #counts(): ProgressCounts {
    const { total } = this.#inputs
    return { done: this.#done, failed: this.#failures.count, retried: 0, total, busyWorkers: 0, workers: 0 }
  }
}

function describeDeath({ pid, exitCode, signal }: WorkerDiedError): string {
  return `its worker (pid ${pid}) ${signal === null ? `ended with exit code ${exitCode}` : `was killed by ${signal}`}`
}

function describeFatal(error: unknown): string {
  if (error instanceof ProcessError) {
    const cause = error.cause instanceof Error ? `\n${error.cause.stack}` : ''
    return `${error.message}${cause}`
  }
  // An input that cannot be read (EISDIR, a line without end) is explained by its message.
  return error instanceof Error ? error.message : String(error)
}
