/**
 * Latches: a task in any process says "I am here" and waits for "go on", so that tests wait for events and not
 * for time. The test's process listens on a socket; a task that passes a latch connects to it.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type Server, type Socket, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

export class Latches implements AsyncDisposable {
  readonly address: string
  readonly #folder: string
  readonly #server: Server
  readonly #waiting = new Map<string, Socket[]>()
  readonly #arrivals: { name: string; resolve: () => void }[] = []

  private constructor(folder: string, server: Server) {
    this.#folder = folder
    this.address = socketPath(folder)
    this.#server = server
    server.on('connection', socket => {
      socket.on('error', () => {})
      socket.once('data', data => this.#arrived(data.toString(), socket))
    })
  }

  static async open(): Promise<Latches> {
    const latches = new Latches(mkdtempSync(join(tmpdir(), 'multiproc-test-')), createServer())
    latches.#server.listen(latches.address)
    await once(latches.#server, 'listening')
    return latches
  }

  #arrived(name: string, socket: Socket): void {
    const sockets = this.#waiting.get(name) ?? []
    this.#waiting.set(name, [...sockets, socket])
    const at = this.#arrivals.findIndex(arrival => arrival.name === name)
    if (at >= 0) this.#arrivals.splice(at, 1)[0]!.resolve()
  }

  /** Resolves when a task has arrived at the latch; each arrival is told once. */
  async arrival(name: string): Promise<void> {
    if ((this.#waiting.get(name)?.length ?? 0) > 0) return
    await new Promise<void>(resolve => {
      this.#arrivals.push({ name, resolve })
    })
  }

  /** Lets go whoever waits at the latch now. */
  release(name: string): void {
    for (const socket of this.#waiting.get(name) ?? []) socket.end('go')
    this.#waiting.delete(name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of Array.from(this.#waiting.keys())) this.release(name)
    this.#server.close()
    await once(this.#server, 'close')
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** The path of a socket that belongs to the folder. Those of Windows are in no folder. */
export function socketPath(folder: string): string {
  return process.platform === 'win32' ? `\\\\.\\pipe\\${basename(folder)}` : join(folder, 'socket')
}

/** Called in a task: arrives at the latch, and returns when it is released. */
export async function passLatch(address: string, name: string): Promise<void> {
  const socket = connect(address)
  socket.write(name)
  await once(socket, 'data')
  socket.destroy()
}
