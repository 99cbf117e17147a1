/**
 * One client as its home sees it: a member of the home's heap, with the real objects that the client has open. A call of
 * the client is a call of the object's own method by that member. So what becomes of locks, permits and ends of pipes
 * when the client dies follows from the rules for members, and is written nowhere else.
 */
import { ProcessError, invalidState } from '../errors.ts'
import { type SharedHeap, actAs } from '../platform/shared-heap.ts'
import { decode, encode, prepare } from '../serialize/codec.ts'
import type { Connection } from '../transport/connection.ts'
import { OpenObjects } from './open-objects.ts'
import { type FromHome, OBJECTS_MAX, type ToHome, decodeToHome } from './protocol.ts'
import { operationsOf } from './shareable.ts'

/** What stands for an object that could not be opened. */
class FailedOpen {
  readonly error: unknown

  constructor(error: unknown) {
    this.error = error
  }
}

/** Why a call ended that its client, or the client's end, has aborted. */
const ABORTED = Symbol('aborted')

export class ServedClient {
  readonly #connection: Connection
  readonly #heap: SharedHeap
  readonly #readPublications: () => void
  readonly #objects: OpenObjects
  readonly #calls = new Map<number, AbortController>()
  /** Messages behind one that waits for its modules: they are dealt with in order. */
  readonly #waiting: ToHome[] = []
  #isLoading = false

  constructor(
    connection: Connection,
    heap: SharedHeap,
    { readPublications }: { readPublications: () => void },
  ) {
    this.#connection = connection
    this.#heap = heap
    this.#objects = new OpenObjects(heap)
    this.#readPublications = readPublications
    connection.onMessage = frame => this.#receive(frame)
  }

  #receive(frame: Uint8Array): void {
    let message: ToHome
    try {
      message = decodeToHome(frame)
    } catch (error) {
      this.#refuse(error)
      return
    }
    if (this.#isLoading) this.#waiting.push(message)
    else this.#handle(message)
  }

  /** What it says cannot be trusted any more. */
  #refuse(error: unknown): void {
    this.#send({ kind: 'refused', error })
    this.#connection.close()
  }

  #handle(message: ToHome): void {
    if (this.#heap.hasEnded) return
    switch (message.kind) {
      case 'open':
        this.#open(message.object, message.bytes)
        return
      case 'close':
        this.#objects.close(message.object)
        return
      case 'abort':
        this.#calls.get(message.call)?.abort(ABORTED)
        return
      case 'ping':
        this.#send({ kind: 'answer', call: message.call, value: undefined })
        return
      case 'call':
        actAs(this.#heap, () => void this.#call(message))
    }
  }

  #open(id: number, bytes: Uint8Array): void {
    // What belongs to the object was published before its handle left the home's threads.
    this.#readPublications()
    let loading: Promise<void> | undefined
    try {
      if (this.#objects.size >= OBJECTS_MAX) throw tooManyObjects()
      loading = prepare(bytes)
      if (loading === undefined) {
        this.#objects.set(
          id,
          actAs(this.#heap, () => decode(bytes) as object),
        )
        return
      }
    } catch (error) {
      // Each call of the object will be told.
      this.#objects.set(id, new FailedOpen(error))
      return
    }
    void this.#openLater(id, bytes, loading)
  }

  async #openLater(id: number, bytes: Uint8Array, loading: Promise<void>): Promise<void> {
    this.#isLoading = true
    try {
      await loading
      if (this.#heap.hasEnded) return
      this.#objects.set(
        id,
        actAs(this.#heap, () => decode(bytes) as object),
      )
    } catch (error) {
      this.#objects.set(id, new FailedOpen(error))
    } finally {
      this.#isLoading = false
    }
    while (this.#waiting.length > 0 && !this.#isLoading) this.#handle(this.#waiting.shift()!)
  }

  /** Runs up to the first `await` at once, as the member that the client is. */
  async #call({ call, object, operation, args }: ToHome & { kind: 'call' }): Promise<void> {
    const controller = new AbortController()
    this.#calls.set(call, controller)
    const it = this.#objects.get(object)
    if (it !== undefined) this.#objects.use(it)
    try {
      if (it instanceof FailedOpen) throw it.error
      const operations = it && operationsOf(it)
      if (it === undefined || operations === undefined || !Object.hasOwn(operations, operation)) {
        throw invalidState(
          `Cannot do "${operation}": it is not open here\nTo fix: use the same version of multiproc on both sides`,
        )
      }
      const value = await operations[operation]!(it, args, controller.signal)
      this.#send({ kind: 'answer', call, value })
    } catch (error) {
      this.#send(error === ABORTED ? { kind: 'aborted', call } : { kind: 'failure', call, error })
    } finally {
      this.#calls.delete(call)
      if (it !== undefined) this.#objects.drop(it)
    }
  }

  #send(message: FromHome): void {
    // Its end comes as an event of its own.
    if (this.#heap.hasEnded) return
    try {
      this.#connection.send(encode(message))
    } catch {
      this.#connection.abort()
    }
  }

  /** The client has ended. First nothing of it waits any more, then it is no member. */
  end(): void {
    for (const controller of this.#calls.values()) controller.abort(ABORTED)
    this.#heap.end()
    this.#objects.clear()
    this.#waiting.length = 0
  }
}

function tooManyObjects(): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `Cannot use another shared object of that process here: ${OBJECTS_MAX} are in use\n` +
      'To fix: let go of locks, queues and shared arrays that are no longer needed',
  )
}
