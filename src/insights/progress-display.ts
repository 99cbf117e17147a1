/**
 * Shows on stderr how far calls are: a bar for each on a terminal, else a line for each every few seconds. Invariant:
 * whatever ends a call, its last line ends with a line break (or is gone, when that was asked for), and the cursor is
 * never hidden, so that a program which is killed leaves its terminal as it was.
 */
import { createRequire } from 'node:module'
import type * as CliProgress from 'cli-progress'
import { writeOrIgnore } from '../platform/standard-streams.ts'
import { progressLine } from './progress-line.ts'
import type { ProgressMeter } from './progress-meter.ts'

const lineEveryMs = 5_000
/** More calls at once than this have no bar of their own until others have ended; nor have those that the terminal has no room for. */
const barsMax = 16

/** One call that is shown. */
interface Shown {
  meter: ProgressMeter
  label: string
  isCleared: boolean
}

/** What ends the display of a call. */
export interface ProgressEntry {
  /** Shows its last numbers. A second time does nothing. */
  end(): void
}

/** Shows `meter` until the entry is ended. */
export function showProgress(
  meter: ProgressMeter,
  { label = '', isCleared = false }: { label?: string; isCleared?: boolean } = {},
): ProgressEntry {
  const display = process.stderr.isTTY ? (bars ??= new Bars()) : (lines ??= new Lines())
  const shown: Shown = { meter, label, isCleared }
  display.add(shown)
  let isEnded = false
  return {
    end: () => {
      if (isEnded) return
      isEnded = true
      meter.finish()
      display.remove(shown)
    },
  }
}

let bars: Bars | undefined
let lines: Lines | undefined

const lineOf = ({ meter, label }: Shown): string => progressLine(meter.measure(), label)

/** Where stderr is no terminal. */
class Lines {
  readonly #shown = new Set<Shown>()
  #timer: NodeJS.Timeout | undefined

  add(shown: Shown): void {
    this.#shown.add(shown)
    this.#timer ??= setInterval(() => this.#write(), lineEveryMs).unref()
  }

  remove(shown: Shown): void {
    this.#shown.delete(shown)
    writeOrIgnore(process.stderr, `${lineOf(shown)}\n`)
    if (this.#shown.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #write(): void {
    for (const shown of this.#shown) writeOrIgnore(process.stderr, `${lineOf(shown)}\n`)
  }
}

/** On a terminal. */
class Bars {
  readonly #waiting: Shown[] = []
  readonly #drawn = new Map<Shown, CliProgress.SingleBar>()
  #multiBar: CliProgress.MultiBar | undefined
  // A program that ends in the midst of a call (process.exit(), an uncaught error) has its next line for itself.
  readonly #atExit = (): void => this.#close()

  add(shown: Shown): void {
    this.#waiting.push(shown)
    this.#draw()
  }

  remove(shown: Shown): void {
    const bar = this.#drawn.get(shown)
    const multiBar = this.#multiBar
    if (!bar || !multiBar) {
      const at = this.#waiting.indexOf(shown)
      if (at >= 0) this.#waiting.splice(at, 1)
      if (at >= 0 && !shown.isCleared) multiBar?.log(`${lineOf(shown)}\n`)
      return
    }
    if (this.#drawn.size === 1 && this.#waiting.length === 0) {
      this.#close()
      return
    }
    if (!shown.isCleared) multiBar.log(`${lineOf(shown)}\n`)
    this.#drawn.delete(shown)
    multiBar.remove(bar)
    this.#draw()
  }

  #draw(): void {
    const room = Math.max(1, Math.min(barsMax, (process.stderr.rows || barsMax) - 2))
    while (this.#waiting.length > 0 && this.#drawn.size < room) {
      const shown = this.#waiting.shift()!
      this.#multiBar ??= this.#open()
      this.#drawn.set(shown, this.#multiBar.create(1, 0, { shown }))
      letEnd(this.#multiBar)
    }
  }

  /** The last lines stay, each whole. */
  #close(): void {
    // Once more, because lines that ended lately are written with the next drawing only.
    this.#multiBar?.update()
    this.#multiBar?.stop()
    this.#multiBar = undefined
    process.removeListener('exit', this.#atExit)
    const left = [...this.#drawn.keys()].filter(({ isCleared }) => !isCleared)
    this.#drawn.clear()
    for (const shown of left) writeOrIgnore(process.stderr, `${lineOf(shown)}\n`)
  }

  #open(): CliProgress.MultiBar {
    // Loaded here because most programs show no progress.
    const { MultiBar } = createRequire(import.meta.url)('cli-progress') as typeof CliProgress
    const multiBar = new MultiBar({
      stream: process.stderr,
      hideCursor: false,
      clearOnComplete: true,
      // Long lines are cut, instead of switching the terminal's own wrapping off and on.
      linewrap: true,
      // What ended above the bars has moved them.
      forceRedraw: true,
      // It would end the program's own handling of Ctrl-C.
      gracefulExit: false,
      format: (_options, _params, payload: { shown: Shown }) => lineOf(payload.shown),
    })
    multiBar.on('update-post', () => letEnd(multiBar))
    process.once('exit', this.#atExit)
    return multiBar
  }
}

/** The timer that draws does not keep the program alive. (cli-progress has no option for that.) */
function letEnd(multiBar: CliProgress.MultiBar): void {
  ;(multiBar as unknown as { timer?: NodeJS.Timeout | null }).timer?.unref()
}
