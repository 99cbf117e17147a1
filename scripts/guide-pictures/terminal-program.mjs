// A program that runs in a pseudo-terminal, and what the terminal shows of it. It is killed by end(),
// and after a minute.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { StyledScreen } from './styled-screen.mjs'

const runMsMax = 60_000

export class TerminalProgram {
  #child
  #closed
  #written = ''
  #command
  #onData = () => {}

  /** `command` is what a user would type, and stands above the output. */
  static start(args, { cwd, command, columns, rows }) {
    const program = new TerminalProgram()
    program.#command = command
    const quoted = args.map(arg => `'${arg.replaceAll("'", String.raw`'\''`)}'`).join(' ')
    // The shell says its process id, which stays that of the program.
    const script = `stty cols ${columns} rows ${rows}; echo "$$"; exec ${quoted}`
    program.#child = spawn('script', ['-q', '-f', '-e', '-c', script, '/dev/null'], {
      cwd,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, TERM: 'xterm-256color', COLORTERM: 'truecolor', NO_COLOR: undefined },
      timeout: runMsMax,
      killSignal: 'SIGKILL',
    })
    program.#child.stdout.setEncoding('utf8').on('data', text => {
      program.#written += text
      program.#onData()
    })
    program.#closed = once(program.#child, 'close')
    return program
  }

  get programId() {
    return Number(this.#written.split(/\r?\n/)[0])
  }

  /** The screen as soon as its text is as `isWanted` says. @throws Error when the program ends before. */
  async screenWhen(isWanted) {
    const wanted = new Promise(resolve => {
      this.#onData = () => {
        const screen = this.#screen()
        if (isWanted(screen.text)) resolve(screen)
      }
      this.#onData()
    })
    const ended = this.#closed.then(() => undefined)
    const screen = await Promise.race([wanted, ended])
    if (screen === undefined) throw new Error(`The program ended before the picture:\n${this.#screen().text}`)
    this.#onData = () => {}
    return screen
  }

  /** The screen when the program has ended. */
  async lastScreen() {
    const [code] = await this.#closed
    const screen = this.#screen()
    if (code !== 0 && code !== 1) throw new Error(`The program ended with ${code}:\n${screen.text}`)
    return screen
  }

  #screen() {
    const begin = this.#written.indexOf('\n') + 1
    const prompt = this.#command === '' ? '' : `\u001B[2m$\u001B[0m ${this.#command}\r\n`
    return StyledScreen.of(prompt + (begin === 0 ? '' : this.#written.slice(begin)))
  }

  /** Ends it if it still runs: the terminal goes, and with it the program. */
  async end() {
    this.#child.kill('SIGKILL')
    await this.#closed
  }
}
