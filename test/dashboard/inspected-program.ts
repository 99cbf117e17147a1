/** Starts a program that can be looked at, and a place of its own for the names of such programs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type InspectedName, inspectedNames } from '#src/platform/inspection-folder.js'
import type { ProgramSnapshot } from '#src/dashboard/inspection-protocol.js'
import type { ProgramSource } from '#src/dashboard/program-source.js'
import { eventually } from '../leak-check.js'

const program = fileURLToPath(new URL('../fixtures/inspected-program.js', import.meta.url))

/** While it is there, this process and those that it starts have a directory of their own for temporary files. */
export class OwnTemporaryDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
  readonly #before = process.env['TMPDIR']

  constructor() {
    process.env['TMPDIR'] = this.path
  }

  [Symbol.dispose](): void {
    if (this.#before === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = this.#before
    rmSync(this.path, { recursive: true, force: true })
  }
}

export class InspectedProgram implements AsyncDisposable {
  readonly tag = randomBytes(6).toString('hex')
  readonly child: ChildProcess
  readonly #ended: Promise<unknown>

  private constructor(args: readonly string[], env: NodeJS.ProcessEnv) {
    this.child = spawn(process.execPath, [program, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, MULTIPROC_INSPECT: this.tag, ...env },
    })
    this.child.stdin!.on('error', () => {})
    this.#ended = once(this.child, 'exit')
  }

  /** Resolves when its calls are under way. */
  static async start(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<InspectedProgram> {
    const started = new InspectedProgram(args, env)
    if (args.length === 0) await once(started.child.stdout!, 'data')
    return started
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Where it listens, when it does. */
  async name(): Promise<InspectedName> {
    await eventually(() => inspectedNames(this.tag).length > 0)
    return inspectedNames(this.tag)[0]!
  }

  /** Has it end by itself. */
  async end(): Promise<void> {
    this.child.stdin!.end()
    await this.#ended
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}

/** The answer to one look. */
export function look(source: ProgramSource, failuresAfter = 0): Promise<ProgramSnapshot> {
  return new Promise((resolve, reject) => {
    source.onSnapshot = resolve
    source.onEnd = error => reject(error ?? new Error('the program has ended'))
    source.ask(failuresAfter)
  })
}
