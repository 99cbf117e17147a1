/**
 * NATS servers for one test that keep everything on all of them (three, mostly), or one that other machines reach: which
 * of them leads what, and the death and return of any of them.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type NatsConnection, connect } from '@nats-io/transport-node'
import { jetstreamManager } from '@nats-io/jetstream'
import { findServer, freePorts } from '#src/cluster/local-server.js'
import { TestCluster } from './started-server.js'

const TOKEN = 'token'
const READY_MS_MAX = 60_000

interface Node {
  readonly name: string
  readonly port: number
  readonly monitorPort: number
  readonly configuration: string
  readonly log: string
  child: ChildProcess | undefined
}

export class StartedNodes {
  readonly #nodes: readonly Node[]

  private constructor(nodes: readonly Node[]) {
    this.#nodes = nodes
  }

  /** As a cluster for tests, with agents and pools. All end with it. `more`: lines of the configuration. */
  static async start({ count = 3, host = '127.0.0.1', more = [] as readonly string[] } = {}): Promise<
    TestCluster & { readonly nodes: StartedNodes }
  > {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-nodes-'))
    const ports = await freePorts(3 * count)
    const routes = ports.slice(count, 2 * count)
    const monitors = ports.slice(2 * count)
    const nodes = routes.map((route, index): Node => {
      const name = `node${index + 1}`
      const own = join(folder, name)
      mkdirSync(own)
      const configuration = join(own, 'server.conf')
      const others = routes.filter(other => other !== route).map(other => `"nats://127.0.0.1:${other}"`)
      writeFileSync(
        configuration,
        [
          `server_name: ${name}`,
          `listen: "${host}:${ports[index]}"`,
          `http: "127.0.0.1:${monitors[index]}"`,
          'max_payload: 8MB',
          // Who answers nothing for some seconds is cut off, so that tests need not wait for minutes.
          'ping_interval: "2s"',
          'ping_max: 1',
          ...more,
          `authorization { token: "${TOKEN}" }`,
          `jetstream { store_dir: ${JSON.stringify(join(own, 'store'))}, sync_interval: "1s" }`,
          count > 1
            ? `cluster { name: test, listen: "127.0.0.1:${route}", routes: [${others.join(', ')}] }`
            : '',
          '',
        ].join('\n'),
      )
      const [port, monitorPort] = [ports[index]!, monitors[index]!]
      return { name, port, monitorPort, configuration, log: join(own, 'server.log'), child: undefined }
    })
    const all = new StartedNodes(nodes)
    for (const { name } of nodes) all.startNode(name)
    await all.ready()
    const server = { url: all.url, pid: 0, stop: () => all.#stop() }
    return Object.assign(TestCluster.on(folder, server, { replicas: count }), { nodes: all })
  }

  get names(): string[] {
    return this.#nodes.map(({ name }) => name)
  }

  /** Of all nodes. */
  get url(): string {
    return this.names.map(name => this.urlOf(name)).join(',')
  }

  urlOf(name: string, host = '127.0.0.1'): string {
    return `nats://${TOKEN}@${host}:${this.#node(name).port}`
  }

  startNode(name: string): void {
    const node = this.#node(name)
    const output = openSync(node.log, 'a')
    node.child = spawn(findServer()!, ['-c', node.configuration], { stdio: ['ignore', output, output] })
    closeSync(output)
  }

  async killNode(name: string): Promise<void> {
    const { child } = this.#node(name)
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  /** Resolves when all nodes are there, and have a leader who makes streams. */
  async ready(): Promise<void> {
    await this.#ask(async connection => {
      const manager = await jetstreamManager(connection, { timeout: 1000 })
      await manager.streams.add({ name: 'READY', subjects: ['ready'], num_replicas: this.#nodes.length })
      await manager.streams.delete('READY')
      return true
    })
  }

  /** The name of the node that leads a stream, or one of its consumers. */
  async leaderOf(stream: string, consumer?: string): Promise<string> {
    return await this.#ask(async connection => {
      const manager = await jetstreamManager(connection, { timeout: 1000 })
      const { cluster } =
        consumer === undefined
          ? await manager.streams.info(stream)
          : await manager.consumers.info(stream, consumer)
      return cluster?.leader
    })
  }

  /** How many clients a server has. */
  async clientsOf(name: string): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${this.#node(name).monitorPort}/connz`)
    return ((await response.json()) as { num_connections: number }).num_connections
  }

  /** Asks until there is an answer: while a leader is elected there is none. */
  async #ask<T>(question: (connection: NatsConnection) => Promise<T | undefined>): Promise<T> {
    const servers = this.#nodes.map(({ port }) => `127.0.0.1:${port}`)
    const giveUpAtMs = performance.now() + READY_MS_MAX
    let last: unknown
    while (performance.now() < giveUpAtMs) {
      let connection: NatsConnection | undefined
      try {
        connection = await connect({ servers, token: TOKEN, timeout: 1000, reconnect: false })
        const answer = await question(connection)
        if (answer !== undefined) return answer
      } catch (error) {
        last = error
      } finally {
        await connection?.close()
      }
      // Sleep: elections are told of to nobody.
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    for (const { name, log } of this.#nodes) {
      console.error(`${name}:\n${readFileSync(log, 'utf8').split('\n').slice(-20).join('\n')}`)
    }
    throw new Error(`The servers gave no answer for ${READY_MS_MAX} ms`, { cause: last })
  }

  #node(name: string): Node {
    return this.#nodes.find(node => node.name === name)!
  }

  async #stop(): Promise<void> {
    await Promise.all(this.names.map(name => this.killNode(name)))
  }
}
