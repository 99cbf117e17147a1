/**
 * A NATS server for one test, or the reason why there is none: `node scripts/get-nats-server.mjs` gets one, and without
 * it the tests of the cluster are skipped.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type NatsConnection, type NodeConnectionOptions, connect } from '@nats-io/transport-node'
import { type ClusterOptions, Pool, type PoolOptions } from 'multiproc'
import { type Agent, type AgentOptions, startAgent } from 'multiproc/cluster'
import type { AgentArguments } from './agent-program.js'
import { type LocalServer, findServer, startLocalServer } from '#src/cluster/local-server.js'

const own = fileURLToPath(new URL('../../nats/nats-server', import.meta.url))
if (findServer() === undefined && existsSync(own)) process.env['MULTIPROC_NATS_SERVER'] = own

/** For tests that need a server. */
export const needsServer = {
  skip:
    findServer() === undefined
      ? 'needs nats-server 2.11 or newer: node scripts/get-nats-server.mjs gets one'
      : false,
}

export const KEY = 'a key of thirty-two bytes or more'
export const POOL = 'test'

/** Connects as somebody who is let in by the server and has no key. */
export async function connectAsStranger(
  { url }: { readonly url: string },
  options: NodeConnectionOptions = {},
): Promise<NatsConnection> {
  const { host, username } = new URL(url)
  return await connect({ servers: host, token: username, ...options })
}

/** A server with agents and pools, all of which end with the test. */
export class TestCluster implements AsyncDisposable {
  readonly folder: string
  readonly #token = 'token'
  #server: LocalServer
  readonly #more: Partial<ClusterOptions>
  readonly #agents: Agent[] = []
  readonly #programs: ChildProcess[] = []
  readonly #pools: Pool[] = []

  private constructor(folder: string, server: LocalServer, more: Partial<ClusterOptions> = {}) {
    this.folder = folder
    this.#server = server
    this.#more = more
  }

  static async start(): Promise<TestCluster> {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-cluster-'))
    return new TestCluster(folder, await startLocalServer({ folder, token: 'token' }))
  }

  /** With servers that are there already, which it ends; `more`: options of everybody who uses them. */
  static on(folder: string, server: LocalServer, more: Partial<ClusterOptions>): TestCluster {
    return new TestCluster(folder, server, more)
  }

  get url(): string {
    return this.#server.url
  }

  get options(): ClusterOptions {
    return { servers: this.url, authKey: KEY, lease: 1000, ...this.#more }
  }

  async killServer(): Promise<void> {
    await this.#server.stop('SIGKILL')
  }

  /** The server, with what it had stored. */
  async restartServer(): Promise<void> {
    const port = Number(new URL(this.url).port)
    this.#server = await startLocalServer({ folder: this.folder, port, token: this.#token })
  }

  get serverPid(): number {
    return this.#server.pid
  }

  /** An agent in this process. */
  async agent(options: Partial<AgentOptions> = {}): Promise<Agent> {
    const agent = await startAgent({ cluster: this.options, pools: POOL, processes: 2, ...options })
    this.#agents.push(agent)
    return agent
  }

  /** An agent in a process of its own, which can be killed. */
  async agentProgram(processes = 2): Promise<ChildProcess> {
    return await this.program('agent-program.js', this.agentArgs(processes))
  }

  /** Arguments of agent-program.ts. */
  agentArgs(processes: number, more: Partial<AgentArguments> = {}): string[] {
    const { replicas = 1 } = this.options
    return [JSON.stringify({ processes, replicas, ...more } satisfies AgentArguments)]
  }

  /** Starts a program of this folder; resolves when it has said its first line. */
  async program(
    name: string,
    args: readonly string[] = [],
    env: NodeJS.ProcessEnv = {},
    before: readonly string[] = [],
  ): Promise<ChildProcess> {
    return (await this.spoken(name, args, env, before)).child
  }

  /** As `program()`, with that line. `before`: a command that starts the program, instead of the system. */
  async spoken(
    name: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    before: readonly string[] = [],
  ): Promise<{ child: ChildProcess; line: string }> {
    const file = fileURLToPath(new URL(name, import.meta.url))
    const [command, ...rest] = [...before, process.execPath, file, ...args]
    const child = spawn(command!, rest, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, MULTIPROC_AUTH_KEY: KEY, CLUSTER_URL: this.url, CLUSTER_POOL: POOL, ...env },
    })
    this.#programs.push(child)
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
    return { child, line }
  }

  pool(options: Omit<PoolOptions, 'cluster'> & { cluster?: Partial<ClusterOptions> } = {}): Pool {
    const pool = new Pool({ name: POOL, ...options, cluster: { ...this.options, ...options.cluster } })
    this.#pools.push(pool)
    return pool
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#pools.map(pool => pool.terminate()))
    await Promise.all(this.#agents.map(agent => agent.stop({ timeout: 0 })))
    for (const child of this.#programs) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await this.#server.stop('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }
}
