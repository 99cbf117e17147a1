/**
 * Lets programs of the same user look at the pools of this one, over a socket that only this user can reach. Invariant:
 * neither the socket nor those who are connected keep the program alive; its name is gone with it (after `kill -9`, with
 * the next who looks); and nobody is owed more than one answer.
 */
import { type Server, type Socket, createServer } from 'node:net'
import { type NewInspectedName, newInspectedName } from '../platform/inspection-folder.ts'
import { REQUEST_CHARACTERS_MAX, type FromProgram } from './inspection-protocol.ts'
import { readRequest } from './inspection-reader.ts'
import { JsonLines } from './json-lines.ts'
import { type ProgramInspector, programInspector } from './program-inspector.ts'

const inspectorsMax = 8
/** An inspector that has not taken so much gets nothing more until it has. */
const bufferedBytesMax = 4 << 20

export class InspectionServer {
  readonly #server: Server
  readonly #name: NewInspectedName
  readonly #sessions = new Set<Session>()
  readonly #inspector: ProgramInspector
  readonly #atExit = (): void => {
    // The system takes what fits into the socket at once, so that most of those who watch see the last numbers.
    for (const session of this.#sessions) session.push()
    this.#name.remove()
  }
  onIdle: (() => void) | undefined

  private constructor(name: NewInspectedName, inspector: ProgramInspector) {
    this.#name = name
    this.#inspector = inspector
    this.#server = createServer(socket => this.#accept(socket))
    this.#server.maxConnections = inspectorsMax
    this.#server.unref()
  }

  /** Listens, under a name with `tag` if there is one. `undefined` where there is no place for it. */
  static async open(
    tag?: string,
    inspector: ProgramInspector = programInspector(),
  ): Promise<InspectionServer | undefined> {
    const name = newInspectedName(tag)
    if (!name) return undefined
    const server = new InspectionServer(name, inspector)
    return (await server.#listen()) ? server : undefined
  }

  get isWatched(): boolean {
    return this.#sessions.size > 0
  }

  /** Those who are connected see the last numbers and the end. */
  close(): void {
    process.removeListener('exit', this.#atExit)
    for (const session of this.#sessions) session.end()
    this.#server.close()
    this.#name.remove()
  }

  #listen(): Promise<boolean> {
    return new Promise(resolve => {
      // No place is no error of the program: it can simply not be looked at.
      this.#server.on('error', () => {
        this.#name.remove()
        resolve(false)
      })
      this.#server.listen(this.#name.path, () => {
        process.once('exit', this.#atExit)
        this.#name.publish()
        resolve(true)
      })
    })
  }

  #accept(socket: Socket): void {
    socket.unref()
    const session = new Session(socket, this.#inspector)
    this.#sessions.add(session)
    socket.once('close', () => {
      this.#sessions.delete(session)
      session.stop()
      if (this.#sessions.size === 0) this.onIdle?.()
    })
  }
}

/** One who is connected. */
class Session {
  readonly #socket: Socket
  readonly #watch: ReturnType<ProgramInspector['watch']>
  readonly #lines = new JsonLines({ charactersMax: REQUEST_CHARACTERS_MAX })
  #failuresAfter = 0

  constructor(socket: Socket, inspector: ProgramInspector) {
    this.#socket = socket
    this.#watch = inspector.watch(() => this.push())
    // Who goes away in the midst of a line is simply gone.
    socket.on('error', () => socket.destroy())
    socket.on('data', bytes => this.#receive(bytes))
    this.#send(inspector.hello())
  }

  /** Tells what there is to tell, unasked. */
  push(): void {
    if (this.#socket.writableLength > bufferedBytesMax || this.#socket.destroyed) return
    const snapshot = this.#watch.look(this.#failuresAfter)
    this.#failuresAfter = snapshot.failureCount
    this.#send(snapshot)
  }

  end(): void {
    this.push()
    this.#socket.end()
    // One that does not read its end would keep the descriptor.
    this.#socket.destroySoon()
  }

  stop(): void {
    this.#watch.end()
  }

  #receive(bytes: Uint8Array): void {
    try {
      for (const value of this.#lines.push(bytes)) {
        const { failuresAfter } = readRequest(value)
        this.#failuresAfter = failuresAfter
        this.push()
      }
    } catch {
      // It speaks something else.
      this.#socket.destroy()
    }
  }

  #send(message: FromProgram): void {
    this.#socket.write(`${JSON.stringify(message)}\n`)
  }
}
