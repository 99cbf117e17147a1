/** A server with programs that share state on it, all of which end with the test. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type ClusterState, type StateOptions, connectState } from 'multiproc/cluster'
import { KEY, POOL, TestCluster } from './started-server.js'

/** A program, and what it has said. */
export class StateProgram {
  readonly child: ChildProcess
  readonly lines: string[] = []
  readonly #closed: Promise<unknown>
  #hasEnded = false
  #wake: (() => void) | undefined

  constructor(url: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    const file = fileURLToPath(new URL('state-program.js', import.meta.url))
    this.child = spawn(process.execPath, [file, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, MULTIPROC_AUTH_KEY: KEY, CLUSTER_URL: url, CLUSTER_POOL: POOL, ...env },
    })
    const lines = createInterface(this.child.stdout!)
    lines.on('line', line => {
      this.lines.push(line)
      this.#wake?.()
    })
    this.#closed = once(lines, 'close')
    lines.once('close', () => {
      this.#hasEnded = true
      this.#wake?.()
    })
  }

  /** The rest of the first line that begins so. */
  async said(start: string): Promise<string> {
    for (;;) {
      const line = this.lines.find(text => text.startsWith(start))
      if (line !== undefined) return line.slice(start.length)
      if (!this.#hasEnded) await new Promise<void>(resolve => (this.#wake = resolve))
      else throw new Error(`it ended and had said: ${this.lines.join(', ')}`)
    }
  }

  /** Resolves when it has ended and everything that it said is there. */
  async kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGKILL')
      await once(this.child, 'exit')
    }
    await this.#closed
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.child.kill(name)
  }
}

export class StateCluster implements AsyncDisposable {
  readonly server: TestCluster
  readonly #states: ClusterState[] = []
  readonly #programs: StateProgram[] = []

  private constructor(server: TestCluster) {
    this.server = server
  }

  static async start(): Promise<StateCluster> {
    return new StateCluster(await TestCluster.start())
  }

  /** A connection of this process. */
  async connect(options: Partial<StateOptions> = {}): Promise<ClusterState> {
    const state = await connectState({ cluster: this.server.url, name: POOL, authKey: KEY, ...options })
    this.#states.push(state)
    return state
  }

  program(...args: string[]): StateProgram {
    return this.programWith({}, ...args)
  }

  programWith(env: NodeJS.ProcessEnv, ...args: string[]): StateProgram {
    const program = new StateProgram(this.server.url, args, env)
    this.#programs.push(program)
    return program
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#states.map(state => state.close()))
    await Promise.all(this.#programs.map(program => program.kill()))
    await this.server[Symbol.asyncDispose]()
  }
}
