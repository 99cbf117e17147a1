/** Starts test/fixtures/connection-program.ts, which another program would be. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Address } from 'multiproc'
import { addressText, parseAddress } from '#src/connection/address.js'

const path = fileURLToPath(new URL('../fixtures/connection-program.js', import.meta.url))

export class RunProgram {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #closed: Promise<unknown[]>

  constructor(child: ChildProcess) {
    this.#child = child
    this.#lines = createInterface(child.stdout!)[Symbol.asyncIterator]()
    this.#closed = once(child, 'close')
  }

  /** Until it prints the line. */
  async line(text: string): Promise<void> {
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (value === text) return
      if (done) throw new Error(`The program ended, and did not print "${text}"`)
    }
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** Its exit code. */
  async end(): Promise<unknown> {
    return (await this.#closed)[0]
  }
}

export async function runProgram(what: string, address: Address): Promise<RunProgram> {
  const child = spawn(process.execPath, [path, what, addressText(parseAddress(address))], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child, 'spawn')
  return new RunProgram(child)
}
