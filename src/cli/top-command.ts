/**
 * `multiproc top`: a program's pools and workers in the terminal. Invariant: whatever ends it, the terminal is as it was
 * before: its other screen, its cursor and its way to read keys.
 */
import type { ProgramBrief, UpdateMessage } from '../dashboard/live-messages.ts'
import type { ProgramSource } from '../dashboard/program-source.ts'
import { ProgramView } from '../dashboard/program-view.ts'
import { interruptSignal } from '../process/interrupt-signal.ts'
import { renderHelp } from './command-syntax.ts'
import { findProgram } from './dashboard-command.ts'
import { EXIT_FAILED, EXIT_OK } from './exit-codes.ts'
import { parseCount, parseOptions, parseTimeMs } from './parse-options.ts'
import { topScreen } from './top-screen.ts'
import { TOP_SYNTAX } from './top-syntax.ts'
import { UsageError } from './usage-error.ts'

const intervalMsDefault = 1000
/** Rates need two looks; so far apart for the one moment of `--once`. */
const onceMs = 500
/** For one moment a program that is busy is not waited for any longer. */
const answerMsMax = 5000
const failuresKept = 20
const plainColumns = 160
const plainRows = 25

const ENTER = '\u001b[?1049h\u001b[?25l'
const LEAVE = '\u001b[?25h\u001b[?1049l'
/** q, Q, Ctrl-C and Ctrl-D. */
const END_KEYS = new Set([0x71, 0x51, 3, 4])
const HOME = '\u001b[H'
const TO_LINE_END = '\u001b[K'
const TO_SCREEN_END = '\u001b[J'

/** Runs the command and gives its exit code. */
export async function topCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(TOP_SYNTAX, args)
  if (values.help === true) {
    process.stdout.write(renderHelp(TOP_SYNTAX))
    return EXIT_OK
  }
  if (positionals.length > 1) {
    throw new UsageError(
      `multiproc top shows one program, but there are ${positionals.length} arguments\nTo fix: multiproc top [pid]`,
    )
  }
  const [text] = positionals
  if (text !== undefined && !/^[1-9]\d*$/.test(text)) {
    throw new UsageError(
      `"${text}" is no process id\nTo fix: pass a number, such as those that "multiproc dashboard --list" shows`,
    )
  }
  const intervalMs = parseTimeMs('interval', values.interval, { msMin: 100 }) ?? intervalMsDefault
  const source = await findProgram(parseCount('pid', text))
  if (!source) return EXIT_FAILED
  const isJson = values.json === true
  const isOnce = values.once === true || (!process.stdout.isTTY && !isJson)
  const top = new Top(source, { isJson, isOnce, isOnScreen: !isJson && !isOnce })
  return await top.run(isOnce ? onceMs : intervalMs)
}

class Top {
  readonly #source: ProgramSource
  readonly #view = new ProgramView()
  readonly #form: { isJson: boolean; isOnce: boolean; isOnScreen: boolean }
  readonly #atExit = (): void => this.#leave()
  #failures: UpdateMessage['failures'] = []
  #moments = 0
  #isOnScreen = false
  #end: (exitCode: number) => void = () => {}

  constructor(source: ProgramSource, form: { isJson: boolean; isOnce: boolean; isOnScreen: boolean }) {
    this.#source = source
    this.#form = form
  }

  async run(intervalMs: number): Promise<number> {
    const source = this.#source
    const ended = new Promise<number>(resolve => {
      this.#end = resolve
    })
    source.onSnapshot = snapshot => this.#take(this.#view.add(snapshot))
    source.onEnd = () => this.#end(this.#moments === 0 ? EXIT_FAILED : EXIT_OK)
    const interrupted = interruptSignal()
    interrupted.addEventListener('abort', () => this.#end(EXIT_OK))
    // The reader of a pipe may go, as "head" does.
    process.stdout.on('error', () => this.#end(EXIT_OK))
    const tick = (): void => {
      const owedMs = performance.now() - (source.askedAtMs ?? Infinity)
      if (owedMs > answerMsMax && this.#form.isOnce) {
        process.stderr.write(
          `multiproc: the program does not answer: it is stopped, or busy with synchronous code\nTo fix: try again later\n`,
        )
        this.#end(EXIT_FAILED)
      }
      source.ask(this.#view.failureNumber)
    }
    if (this.#form.isOnScreen) this.#enter()
    const timer = setInterval(tick, intervalMs)
    tick()
    const exitCode = await ended
    clearInterval(timer)
    source.close()
    this.#leave()
    if (this.#form.isOnScreen && !interrupted.aborted) process.stdout.write(`${this.#lastLine()}\n`)
    return exitCode
  }

  #take(update: UpdateMessage): void {
    this.#failures = [...this.#failures, ...update.failures].slice(-failuresKept)
    // The first one has no rates.
    if (this.#moments++ === 0 && !this.#form.isOnScreen) return
    if (this.#form.isJson) {
      const { point, pools, failures, failureCount, tables, done, failed } = update
      process.stdout.write(
        `${JSON.stringify({ program: this.#program(), point, pools, failures, failureCount, tables, done, failed })}\n`,
      )
    } else {
      // A terminal whose size nobody has set has no columns and no rows.
      const columns = process.stdout.columns || plainColumns
      const rows = process.stdout.rows || plainRows
      const moment = {
        program: this.#program(),
        update: { ...update, failures: this.#failures },
        point: this.#view.history().points.at(-1),
      }
      if (this.#form.isOnce) {
        const isColoured = process.stdout.isTTY && process.env['NO_COLOR'] === undefined
        const lines = topScreen(moment, { columns, rows: undefined, isColoured })
        process.stdout.write(`${lines.join('\n').trimEnd()}\n`)
      } else {
        const isColoured = process.env['NO_COLOR'] === undefined
        const lines = topScreen(moment, { columns, rows: rows - 1, isColoured })
        // In place, and not after clearing the screen, which would flicker.
        process.stdout.write(
          `${HOME}${lines.map(text => `${text}${TO_LINE_END}\n`).join('')}${TO_SCREEN_END}q quits`,
        )
      }
    }
    if (this.#form.isOnce) this.#end(EXIT_OK)
  }

  #program(): ProgramBrief {
    const { pid, command, node, startedAtMs } = this.#source.hello
    return { id: String(pid), pid, command, node, startedAtMs, state: 'running' }
  }

  #lastLine(): string {
    const { done, failed } = this.#view.latest ?? { done: 0, failed: 0 }
    return `pid ${this.#source.hello.pid}: ${done} done, ${failed} failed`
  }

  #enter(): void {
    this.#isOnScreen = true
    process.once('exit', this.#atExit)
    process.stdout.write(ENTER)
    if (!process.stdin.isTTY) return
    process.stdin.setRawMode(true)
    process.stdin.on('data', (bytes: Buffer) => {
      // Ctrl-C is a key here, and no signal.
      if (bytes.some(key => END_KEYS.has(key))) this.#end(EXIT_OK)
    })
  }

  #leave(): void {
    if (!this.#isOnScreen) return
    this.#isOnScreen = false
    process.removeListener('exit', this.#atExit)
    process.stdout.write(LEAVE)
    if (!process.stdin.isTTY) return
    process.stdin.setRawMode(false)
    process.stdin.pause()
  }
}
