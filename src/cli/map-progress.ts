/**
 * Shows on stderr how far a run is: a bar on a terminal, a line every few seconds elsewhere. Invariant: it is gone
 * from the terminal before anything else is written there.
 */
import { createRequire } from 'node:module'
import type * as CliProgress from 'cli-progress'

const LINE_INTERVAL_MS = 5_000
const BAR_WIDTH = 30

/** What is shown. */
export interface ProgressCounts {
  done: number
  failed: number
  /** Undefined while the input is still read. */
  total: number | undefined
}

export class MapProgress {
  readonly #bar: CliProgress.SingleBar
  readonly #startedAtMs = performance.now()

  constructor(counts: ProgressCounts) {
    // Loaded here because most runs show no progress.
    const { SingleBar } = createRequire(import.meta.url)('cli-progress') as typeof CliProgress
    this.#bar = new SingleBar({
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: false,
      // Long lines are cut, instead of switching the terminal's own wrapping off and on.
      linewrap: true,
      noTTYOutput: true,
      notTTYSchedule: LINE_INTERVAL_MS,
      // The signal handler of the command stops the bar itself.
      gracefulExit: false,
      format: (_options, _params, payload: ProgressCounts) => this.#line(payload),
    })
    this.#bar.start(counts.total ?? 0, 0, counts)
  }

  update(counts: ProgressCounts): void {
    this.#bar.update(counts.done, counts)
  }

  stop(): void {
    this.#bar.stop()
  }

  #line({ done, failed, total }: ProgressCounts): string {
    const elapsedS = (performance.now() - this.#startedAtMs) / 1000
    const perSecond = elapsedS > 0 ? done / elapsedS : 0
    const parts = [total === undefined ? `${done} done` : `${done} of ${total}`, `${rounded(perSecond)}/s`]
    if (failed > 0) parts.push(`${failed} failed`)
    if (total === undefined) parts.push(`${Math.round(elapsedS)} s`)
    else if (perSecond > 0) parts.push(`${Math.ceil((total - done) / perSecond)} s left`)
    if (total === undefined || total === 0) return parts.join(', ')
    const filled = Math.round((done / total) * BAR_WIDTH)
    return `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)} ${parts.join(', ')}`
  }
}

function rounded(value: number): string {
  return value >= 10 ? String(Math.round(value)) : value.toFixed(1)
}
