/**
 * A program that is watched: this one, or another of the same user. Invariant: one question at a time is under way, so
 * that a program that is busy is asked less often and owes nothing; and after `onEnd` nothing comes any more.
 */
import { type Socket, connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { TimeoutError } from '../errors.ts'
import { type InspectedName, removeInspectedName } from '../platform/inspection-folder.ts'
import { ANSWER_CHARACTERS_MAX, type ProgramHello, type ProgramSnapshot } from './inspection-protocol.ts'
import { readAnswer } from './inspection-reader.ts'
import { JsonLines, protocolError } from './json-lines.ts'
import { programInspector } from './program-inspector.ts'

export interface ProgramSource {
  readonly hello: ProgramHello
  /** Since when an answer is owed, by `performance.now()`. */
  readonly askedAtMs: number | undefined
  /** Asks for a snapshot, unless one is on its way. */
  ask(failuresAfter: number): void
  onSnapshot: ((snapshot: ProgramSnapshot) => void) | undefined
  /** The program has ended, or speaks something else. */
  onEnd: ((error: unknown) => void) | undefined
  close(): void
}

/** The program that this is. */
export function ownProgram(): ProgramSource {
  const inspector = programInspector()
  let failures = 0
  const watch = inspector.watch(() => source.onSnapshot?.(watch.look(failures)))
  const source: ProgramSource = {
    hello: inspector.hello(),
    askedAtMs: undefined,
    ask: failuresAfter => {
      failures = failuresAfter
      source.onSnapshot?.(watch.look(failuresAfter))
    },
    onSnapshot: undefined,
    onEnd: undefined,
    close: () => watch.end(),
  }
  return source
}

/** A name is there a moment before its program listens. One at which still nobody does is left over. */
const attemptsMax = 4
const betweenAttemptsMs = 25
/** A program answers at once, unless it is busy with synchronous code. */
const helloMsMax = 3000

/**
 * Connects to another program.
 *
 * @throws TimeoutError when it says nothing; ProcessError `ERR_PROTOCOL` when it says something else; the system's error
 * when nobody listens.
 */
export async function connectProgram(
  name: InspectedName,
  { timeoutMs = helloMsMax }: { timeoutMs?: number } = {},
): Promise<ProgramSource> {
  for (let attempt = 1; ; attempt++) {
    const socket = connect(name.path)
    const source = new RemoteProgram(socket)
    const timer = setTimeout(() => socket.destroy(noHello(name.pid, timeoutMs)), timeoutMs)
    try {
      await source.greeted
      return source
    } catch (error) {
      socket.destroy()
      if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED') throw error
      if (attempt === attemptsMax) {
        removeInspectedName(name)
        throw error
      }
    } finally {
      clearTimeout(timer)
    }
    await delay(betweenAttemptsMs)
  }
}

function noHello(pid: number, timeoutMs: number): TimeoutError {
  return new TimeoutError(
    `The program with the process id ${pid} did not answer within ${timeoutMs} ms: it is stopped, or busy with synchronous code\nTo fix: try again when it returns to its event loop`,
  )
}

class RemoteProgram implements ProgramSource {
  readonly #socket: Socket
  readonly #lines = new JsonLines({ charactersMax: ANSWER_CHARACTERS_MAX })
  readonly greeted: Promise<void>
  #hello: ProgramHello | undefined
  #askedAtMs: number | undefined
  #failure: unknown
  onSnapshot: ((snapshot: ProgramSnapshot) => void) | undefined
  onEnd: ((error: unknown) => void) | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    this.greeted = new Promise((resolve, reject) => {
      socket.on('data', bytes => this.#receive(bytes, resolve))
      socket.on('error', error => {
        this.#failure ??= error
      })
      socket.once('close', () => {
        reject(this.#failure ?? protocolError('the program ended before its first word'))
        this.onEnd?.(this.#failure)
      })
    })
  }

  get hello(): ProgramHello {
    return this.#hello!
  }

  get askedAtMs(): number | undefined {
    return this.#askedAtMs
  }

  ask(failuresAfter: number): void {
    if (this.#askedAtMs !== undefined || this.#socket.destroyed) return
    this.#askedAtMs = performance.now()
    this.#socket.write(`${JSON.stringify({ type: 'look', failuresAfter })}\n`)
  }

  close(): void {
    this.onEnd = undefined
    this.onSnapshot = undefined
    this.#socket.destroy()
  }

  #receive(bytes: Uint8Array, greeted: () => void): void {
    try {
      for (const value of this.#lines.push(bytes)) {
        const answer = readAnswer(value)
        if (answer.type === 'hello') {
          this.#hello = answer
          greeted()
        } else {
          if (!this.#hello) throw protocolError('a snapshot came before the first word')
          this.#askedAtMs = undefined
          this.onSnapshot?.(answer)
        }
      }
    } catch (error) {
      this.#failure ??= error
      this.#socket.destroy()
    }
  }
}
