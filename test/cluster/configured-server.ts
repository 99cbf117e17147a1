/** A NATS server with a configuration of the test: users, certificates, or none of what a cluster needs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findServer, freePorts } from '#src/cluster/local-server.js'

export const certificates = (name: string): string =>
  fileURLToPath(new URL(`../../../test/fixtures/tls/${name}.pem`, import.meta.url))

/** Where a server is to be. */
export interface ServerPlace {
  folder: string
  port: number
}

export class ConfiguredServer implements AsyncDisposable {
  readonly folder: string
  readonly port: number
  readonly #env: NodeJS.ProcessEnv
  #child: ChildProcess | undefined

  private constructor({ folder, port }: ServerPlace, env: NodeJS.ProcessEnv) {
    this.folder = folder
    this.port = port
    this.#env = env
  }

  /** `configuration` is beside JetStream and the address, unless `isWhole`. */
  static async start(
    configuration: string | ((place: ServerPlace) => string),
    { env = {}, isWhole = false }: { env?: NodeJS.ProcessEnv; isWhole?: boolean } = {},
  ): Promise<ConfiguredServer> {
    const [port] = (await freePorts(1)) as [number]
    const place = { folder: mkdtempSync(join(tmpdir(), 'multiproc-server-')), port }
    const own = typeof configuration === 'string' ? configuration : configuration(place)
    const file = join(place.folder, 'server.conf')
    const common = [
      `listen: "127.0.0.1:${place.port}"`,
      `jetstream { store_dir: ${JSON.stringify(join(place.folder, 'store'))} }`,
    ]
    writeFileSync(file, [...(isWhole ? [] : common), own, ''].join('\n'))
    const server = new ConfiguredServer(place, env)
    await server.start()
    return server
  }

  /** Again, with what it had stored, after `kill()`. */
  async start(): Promise<void> {
    const output = openSync(this.#log, 'a')
    const child = spawn(findServer()!, ['-c', join(this.folder, 'server.conf')], {
      stdio: ['ignore', output, output],
      env: { ...process.env, ...this.#env },
    })
    closeSync(output)
    this.#child = child
    while (!(await greets(this.port))) {
      if (child.exitCode !== null) throw new Error(`nats-server did not start:\n${this.log}`)
      // Sleep: a server says nothing when it begins to listen.
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }

  /** For the next start. */
  configureAnew(change: (configuration: string) => string): void {
    const file = join(this.folder, 'server.conf')
    writeFileSync(file, change(readFileSync(file, 'utf8')))
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  get #log(): string {
    return join(this.folder, 'server.log')
  }

  /** What it has said. */
  get log(): string {
    return readFileSync(this.#log, 'utf8')
  }

  /** `who`: `user:password@`, `token@`, or nothing. */
  url(who = '', protocol: 'nats' | 'tls' = 'nats'): string {
    return `${protocol}://${who}127.0.0.1:${this.port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

async function greets(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'data')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
