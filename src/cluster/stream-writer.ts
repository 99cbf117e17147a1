/**
 * Writes messages to streams, many at a time, and tells of each when the server has it. The client can do that too, with
 * a timer and two errors with their stacks for every message, which is a tenth of what a short task costs. Invariant: each
 * write ends, by the server's answer, when the connection is cut, or after some time; who tries again passes the same id.
 */
import type { Msg, MsgHdrs, NatsConnection } from '@nats-io/transport-node'

interface OpenWrite {
  subject: string
  byteLength: number
  dueMs: number
  resolve(): void
  reject(error: Error): void
}

/** What the server says of a write. */
interface Answer {
  error?: { code?: number; err_code?: number; description?: string }
}

export interface StreamWriterOptions {
  newHeaders: () => MsgHdrs
  /** Where answers come: nobody else's, and this user may hear it. */
  inbox: string
  answerMsMax: number
}

const noResponders = 503
const lookEveryMs = 500
/** What a slow network carries. Who has more on its way waits longer for the answers. */
const bytesPerMs = 500

export class StreamWriter {
  readonly #connection: NatsConnection
  readonly #newHeaders: () => MsgHdrs
  readonly #answerMsMax: number
  readonly #inbox: string
  readonly #open = new Map<string, OpenWrite>()
  #openBytes = 0
  #last = 0
  #isAway = false
  #timer: NodeJS.Timeout | undefined

  constructor(connection: NatsConnection, { newHeaders, inbox, answerMsMax }: StreamWriterOptions) {
    this.#connection = connection
    this.#inbox = inbox
    this.#newHeaders = newHeaders
    this.#answerMsMax = answerMsMax
    // It ends with the connection.
    connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (!error) this.#answered(message)
      },
    })
    void this.#follow()
  }

  /** Resolves when the stream of the subject has it. `msgID`: who writes it again uses the same, and it is there once. */
  async write(
    subject: string,
    bytes: Uint8Array | string,
    { msgID }: { msgID?: string } = {},
  ): Promise<void> {
    // Kept for a server that is away it would go out as often as somebody tries.
    if (this.#isAway) throw new Error('the server is away')
    const headers = msgID === undefined ? undefined : this.#newHeaders()
    headers?.set('Nats-Msg-Id', msgID!)
    const reply = `${this.#inbox}.${++this.#last}`
    this.#connection.publish(subject, bytes, { reply, ...(headers ? { headers } : {}) })
    await new Promise<void>((resolve, reject) => {
      const byteLength = bytes.length
      this.#openBytes += byteLength
      const dueMs = performance.now() + this.#answerMsMax + this.#openBytes / bytesPerMs
      this.#open.set(reply, { subject, byteLength, dueMs, resolve, reject })
      this.#timer ??= this.#look()
    })
  }

  #answered({ subject: reply, data, headers }: Msg): void {
    const write = this.#open.get(reply)
    if (!write) return
    this.#forget(reply, write)
    if (headers?.code === noResponders) {
      write.reject(new Error(`no stream takes "${write.subject}"`))
      return
    }
    const error = errorIn(data)
    if (error) write.reject(error)
    else write.resolve()
  }

  /** Answers of a connection that is gone do not come; and what a user may not write gets none. */
  async #follow(): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (status.type === 'disconnect') {
        this.#isAway = true
        this.#rejectIf('the connection was cut', () => true)
      } else if (status.type === 'reconnect') this.#isAway = false
      else if (status.type === 'error') {
        const { message, subject } = status.error as Error & { subject?: unknown }
        this.#rejectIf(message, write => write.subject === subject, status.error)
      }
    }
    this.#rejectIf('the connection was closed', () => true)
    clearTimeout(this.#timer)
  }

  #rejectIf(why: string, isMeant: (write: OpenWrite) => boolean, cause?: Error): void {
    for (const [reply, write] of this.#open) {
      if (!isMeant(write)) continue
      this.#forget(reply, write)
      write.reject(new Error(why, cause ? { cause } : {}))
    }
  }

  #forget(reply: string, { byteLength }: OpenWrite): void {
    this.#open.delete(reply)
    this.#openBytes -= byteLength
  }

  /** One timer for all: whoever waits keeps the program alive, and this does not. */
  #look(): NodeJS.Timeout {
    return setTimeout(() => {
      const nowMs = performance.now()
      this.#rejectIf('the server did not answer', ({ dueMs }) => dueMs <= nowMs)
      this.#timer = this.#open.size === 0 ? undefined : this.#look()
    }, lookEveryMs).unref()
  }
}

function errorIn(data: Uint8Array): Error | undefined {
  let answer: Answer
  try {
    answer = JSON.parse(Buffer.from(data).toString('utf8')) as Answer
  } catch {
    // Whoever may write there can say anything.
    return new Error('the answer is none of JetStream')
  }
  const { error } = answer
  return (
    error &&
    Object.assign(new Error(error.description ?? 'it is refused'), {
      code: error.err_code,
      status: error.code,
    })
  )
}
