/** `multiproc map`: calls a function for every input, in a pool. Its options and exit codes are those of MAP_HELP. */
import { InterruptedError, ProcessError, WorkerDiedError } from '../errors.ts'
import { type ProgressEntry, showProgress } from '../insights/progress-display.ts'
import { type ProgressCounts, ProgressMeter } from '../insights/progress-meter.ts'
import { Pool } from '../pool/pool.ts'
import { EXIT_FAILED, EXIT_OK } from './exit-codes.ts'
import { FailureReport } from './failure-report.ts'
import { loadTask, locateTask } from './load-task.ts'
import { MapInputs } from './map-inputs.ts'
import { MAP_HELP, type MapSettings, parseMapOptions } from './map-options.ts'
import { type ItemOutcome, type MapWorkerSettings, prepareMapWorker, runItem } from './map-worker.ts'
import { ResultWriter } from './result-writer.ts'
import { StopRequest } from './stop-request.ts'

/** Runs the command and gives its exit code. */
export async function mapCommand(args: readonly string[]): Promise<number> {
  const settings = parseMapOptions(args)
  if (settings === undefined) {
    process.stdout.write(MAP_HELP)
    return EXIT_OK
  }
  const { input, isSpread, output } = settings
  const task = locateTask(settings.reference)
  // Whatever is wrong with the function is said here once, and not by every worker.
  await loadTask(task)
  return await new MapRun(settings, { task, input, isSpread, output }).run()
}

class MapRun {
  readonly #settings: MapSettings
  readonly #workerSettings: MapWorkerSettings
  readonly #inputs: MapInputs
  readonly #failures = new FailureReport()
  readonly #writer = new ResultWriter(process.stdout)
  readonly #stop = new StopRequest()
  #progress: ProgressEntry | undefined
  #done = 0

  constructor(settings: MapSettings, workerSettings: MapWorkerSettings) {
    this.#settings = settings
    this.#workerSettings = workerSettings
    this.#inputs = new MapInputs(settings.inputs ?? process.stdin, { skipsBlank: settings.input === 'json' })
  }

  async run(): Promise<number> {
    const { processes, context } = this.#settings
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      // The reader (such as "head") has what it wanted.
      if (error.code === 'EPIPE') this.#stop.stop('output closed')
      else throw error
    })
    if (this.#settings.inputs === undefined && process.stdin.isTTY) {
      process.stderr.write('Reading inputs from the terminal, one a line; Ctrl-D ends them\n')
    }
    const pool = new Pool({
      processes,
      context,
      initializer: prepareMapWorker,
      initArgs: [this.#workerSettings],
      name: 'multiproc map',
    })
    let fatal: ProcessError | undefined
    try {
      if (this.#showsProgress()) {
        // Results and failures are written where the bar was.
        this.#progress = showProgress(new ProgressMeter(() => this.#counts()), { isCleared: true })
      }
      await this.#consume(pool)
    } catch (error) {
      // What went wrong with the whole run and not with an item: workers cannot start, the input cannot be read.
      if (!this.#stop.signal.aborted) fatal = error as ProcessError
    } finally {
      this.#progress?.end()
      await pool.terminate()
      await this.#writer.end()
    }
    return this.#conclude(fatal)
  }

  async #consume(pool: Pool): Promise<void> {
    const { chunkSize, isUnordered } = this.#settings
    const items = this.#inputs.items()
    const results = isUnordered
      ? pool.imapUnordered(runItem, items, { chunkSize })
      : pool.imap(runItem, items, { chunkSize })
    const { signal } = this.#stop
    for (;;) {
      let outcome: ItemOutcome
      try {
        const next = await results.next({ signal })
        if (next.done === true) return
        outcome = next.value
      } catch (error) {
        if (signal.aborted) throw error
        if (!(error instanceof WorkerDiedError) || error.taskIndex === undefined) throw error
        outcome = [error.taskIndex, null, { error: describeDeath(error), place: '' }]
      }
      this.#settle(outcome)
      if (this.#writer.isFull) await this.#writer.drained(signal)
    }
  }

  #settle([index, line, failure]: ItemOutcome): void {
    const input = this.#inputs.take(index)
    this.#done++
    if (line === null) this.#failures.add(input, failure)
    else this.#writer.write(line)
    if (this.#failures.count >= this.#settings.failuresMax) this.#stop.stop('too many failures')
  }

  #conclude(fatal: ProcessError | undefined): number {
    const { reason } = this.#stop
    if (reason === 'output closed') return EXIT_OK
    const lines: string[] = []
    const isInterrupted = reason instanceof InterruptedError
    if (isInterrupted) {
      lines.push(`Interrupted: ${this.#done} ${this.#done === 1 ? 'item was' : 'items were'} done\n`)
    } else if (reason === 'too many failures') {
      lines.push(
        `Stopped after ${this.#failures.count} ${this.#failures.count === 1 ? 'failure' : 'failures'}\n`,
      )
    } else if (fatal !== undefined) {
      lines.push(`multiproc: ${describeFatal(fatal)}\n`)
    }
    lines.push(this.#failures.text(this.#done))
    process.stderr.write(lines.join(''))
    if (isInterrupted) return reason.exitCode
    return fatal === undefined && this.#failures.count === 0 ? EXIT_OK : EXIT_FAILED
  }

  // Results on the same terminal would run through the bar.
  #showsProgress(): boolean {
    return this.#settings.showsProgress ?? (process.stderr.isTTY && !process.stdout.isTTY)
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
