/**
 * Watches the connection of a program: says when it is back, and when it has been away for too long. Invariant: a server
 * that answers nothing any more is noticed, although nobody sends anything, and an idle program may end.
 */
import { type Nats, letProgramEnd } from './nats-client.ts'

const lookEveryMs = 4000
const answerMsMax = 8000

export class ConnectionWatch {
  readonly #nats: Nats
  readonly #onLost: () => void
  readonly #awayMsMax: number
  readonly #look: NodeJS.Timeout
  #lost: NodeJS.Timeout | undefined
  #isClosed = false
  #isLooking = false
  #backSinceMs = performance.now()

  constructor(
    nats: Nats,
    { awayMsMax, onBack, onLost }: { awayMsMax: number; onBack: () => void; onLost: () => void },
  ) {
    this.#nats = nats
    this.#awayMsMax = awayMsMax
    this.#onLost = onLost
    // Both are stopped in close().
    this.#look = setInterval(() => void this.#ask(), lookEveryMs).unref()
    void this.#follow(onBack)
    letProgramEnd(nats.connection)
  }

  /** Since when the connection is there without a gap, by `performance.now()`. */
  get backSinceMs(): number {
    return this.#backSinceMs
  }

  get isAway(): boolean {
    return this.#lost !== undefined
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#look)
    clearTimeout(this.#lost)
  }

  async #follow(onBack: () => void): Promise<void> {
    for await (const { type } of this.#nats.connection.status()) {
      if (this.#isClosed) return
      if (type === 'disconnect') {
        this.#lost ??= setTimeout(() => this.#onLost(), this.#awayMsMax).unref()
      } else if (type === 'reconnect') {
        clearTimeout(this.#lost)
        this.#lost = undefined
        this.#backSinceMs = performance.now()
        letProgramEnd(this.#nats.connection)
        onBack()
      }
    }
  }

  /** The client's own pings would keep an idle program alive. */
  async #ask(): Promise<void> {
    if (this.isAway || this.#isLooking) return
    this.#isLooking = true
    const { connection } = this.#nats
    const late = setTimeout(() => void connection.reconnect().catch(() => {}), answerMsMax).unref()
    try {
      await connection.rtt()
    } catch {
      // It was cut meanwhile, which is noticed above.
    } finally {
      clearTimeout(late)
      this.#isLooking = false
    }
  }
}
