/** A NATS server with a configuration of the test: users, certificates, or none of what a cluster needs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findServer } from '#src/cluster/local-server.js'

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
  readonly #child: ChildProcess

  private constructor({ folder, port }: ServerPlace, child: ChildProcess) {
    this.folder = folder
    this.port = port
    this.#child = child
  }

  /** `configuration` is beside JetStream and the address, unless `isWhole`. */
  static async start(
    configuration: string | ((place: ServerPlace) => string),
    { env = {}, isWhole = false }: { env?: NodeJS.ProcessEnv; isWhole?: boolean } = {},
  ): Promise<ConfiguredServer> {
    const place = { folder: mkdtempSync(join(tmpdir(), 'multiproc-server-')), port: await freePort() }
    const own = typeof configuration === 'string' ? configuration : configuration(place)
    const file = join(place.folder, 'server.conf')
    const common = [
      `listen: "127.0.0.1:${place.port}"`,
      `jetstream { store_dir: ${JSON.stringify(join(place.folder, 'store'))} }`,
    ]
    writeFileSync(file, [...(isWhole ? [] : common), own, ''].join('\n'))
    const child = spawn(findServer()!, ['-c', file], {
      stdio: ['ignore', 'ignore', 'ignore'],
      env: { ...process.env, ...env },
    })
    const server = new ConfiguredServer(place, child)
    while (!(await greets(place.port))) {
      if (child.exitCode !== null) throw new Error(`nats-server ended with ${child.exitCode}`)
      // Sleep: a server says nothing when it begins to listen.
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    return server
  }

  /** `who`: `user:password@`, `token@`, or nothing. */
  url(who = '', protocol: 'nats' | 'tls' = 'nats'): string {
    return `${protocol}://${who}127.0.0.1:${this.port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL')
      await once(this.#child, 'exit')
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export async function freePort(): Promise<number> {
  const probe = createServer()
  probe.listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
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
