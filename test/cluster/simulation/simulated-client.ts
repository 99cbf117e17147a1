/**
 * The connection of one program or agent to the simulated server, with the face of the NATS client that src/cluster uses.
 * Messages of one connection arrive in their order, after a while; when it is cut they wait, and when it is lost so is what
 * was on its way. Invariant: what is promised to arrive by JetStream is the answer of the server, and nothing else.
 */
import type { Nats } from '#src/cluster/nats-client.js'
import type { ServerMessage, SimulatedServer, Subscriber } from './simulated-server.js'
import {
  type ConsumerConfig,
  SimulatedApiError,
  type StoredMessage,
  type StreamConfig,
} from './simulated-stream.js'
import type { VirtualTime } from './virtual-time.js'

type Random = (limit: number) => number
type Callback = (error: Error | null, message: ServerMessage) => void

/** As in nats-client.ts. */
const WRITE_MS_MAX = 2000
const REQUEST_MS_MAX = 10_000
const RECONNECT_MS = 250
/** A client notices by its pings that nobody answers. */
const SILENT_MS_MIN = 10_000
const SILENT_MS_MORE = 5000

export interface Network {
  time: VirtualTime
  server: SimulatedServer
  random: Random
  /** A message takes so long, or up to `jitterMs` more. */
  latencyMs: number
  jitterMs: number
}

function timedOut(): Error {
  return Object.assign(new Error('timeout'), { name: 'TimeoutError' })
}

class Subscription implements Subscriber {
  readonly subject: string
  readonly #client: SimulatedClient
  readonly callback: Callback

  constructor(client: SimulatedClient, subject: string, callback: Callback) {
    this.#client = client
    this.subject = subject
    this.callback = callback
  }

  receive(message: ServerMessage): void {
    this.#client.deliver(() => {
      if (this.#client.subscriptions.has(this)) this.callback(null, message)
    })
  }

  unsubscribe(): void {
    this.#client.unsubscribe(this)
  }
}

export class SimulatedClient {
  readonly subscriptions = new Set<Subscription>()
  readonly #network: Network
  #state: 'connected' | 'disconnected' | 'closed' = 'connected'
  /** Another one after each connection, so that what was on its way is known to be lost. */
  #epoch = 0
  #isCut = false
  /** What waits for the cut to end. */
  #held: (() => void)[] = []
  #lastArrival = { there: 0, here: 0 }
  readonly #listeners = new Set<(status: { type: string }) => void>()
  readonly #closers = new Set<() => void>()

  constructor(network: Network) {
    this.#network = network
  }

  // ---- What happens to it ----

  /** The server, or the network for too long, has gone. */
  lose(): void {
    if (this.#state !== 'connected') return
    this.#state = 'disconnected'
    this.#epoch++
    this.#held = []
    for (const subscription of this.subscriptions) this.#network.server.unsubscribe(subscription)
    this.#tell('disconnect')
    this.#tryAgain()
  }

  cut(): void {
    this.#isCut = true
    const { time, random } = this.#network
    const epoch = this.#epoch
    time.after(SILENT_MS_MIN + random(SILENT_MS_MORE), () => {
      if (this.#isCut && this.#epoch === epoch) this.lose()
    })
  }

  mend(): void {
    this.#isCut = false
    for (const act of this.#held.splice(0)) act()
  }

  /** Its program was killed: nothing of it happens any more. */
  kill(): void {
    this.#state = 'closed'
    this.#epoch++
    for (const subscription of this.subscriptions) this.#network.server.unsubscribe(subscription)
    this.subscriptions.clear()
    for (const close of this.#closers) close()
  }

  #tryAgain(): void {
    const { time, server, random } = this.#network
    time.after(RECONNECT_MS + random(100), () => {
      if (this.#state !== 'disconnected') return
      if (!server.isUp || this.#isCut) {
        this.#tryAgain()
        return
      }
      this.#state = 'connected'
      this.#epoch++
      for (const subscription of this.subscriptions) server.subscribe(subscription)
      this.#tell('reconnect')
    })
  }

  #tell(type: string): void {
    for (const listener of this.#listeners) listener({ type })
  }

  // ---- What goes over it ----

  /** After a while, and after what was sent before; never when the connection is another one by then. */
  #send(direction: 'there' | 'here', act: () => void): void {
    if (this.#state !== 'connected') return
    const { time, server, random, latencyMs, jitterMs } = this.#network
    const epoch = this.#epoch
    const arrive = (): void => {
      if (this.#epoch === epoch && (server.isUp || direction === 'here')) act()
    }
    const go = (): void => {
      const waitMs = direction === 'here' ? server.waitMs : 0
      const atMs = time.nowMs + waitMs + latencyMs + random(1000) * (jitterMs / 1000)
      this.#lastArrival[direction] = Math.max(this.#lastArrival[direction], atMs)
      time.at(this.#lastArrival[direction], arrive)
    }
    if (this.#isCut) this.#held.push(go)
    else go()
  }

  deliver(act: () => void): void {
    this.#send('here', act)
  }

  /** Asks the server, who does `act` and says what came of it. */
  async #request<T>(act: (server: SimulatedServer) => T, timeoutMs: number): Promise<T> {
    return await new Promise<T>((resolve, reject) => {
      const late = setTimeout(() => end(() => reject(timedOut())), timeoutMs)
      const end = (settle: () => void): void => {
        clearTimeout(late)
        this.#closers.delete(close)
        settle()
      }
      const close = (): void =>
        end(() => reject(Object.assign(new Error('closed'), { name: 'ClosedConnectionError' })))
      this.#closers.add(close)
      this.#send('there', () => {
        let answer: () => void
        try {
          const value = act(this.#network.server)
          answer = () => resolve(value)
        } catch (error) {
          if (!(error instanceof SimulatedApiError)) throw error
          answer = () => reject(error)
        }
        this.#send('here', () => end(answer))
      })
    })
  }

  // ---- As the NATS client ----

  publish(subject: string, data: Uint8Array | string = '', { reply }: { reply?: string } = {}): void {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    this.#send('there', () =>
      this.#network.server.take({ subject, data: bytes, ...(reply === undefined ? {} : { reply }) }),
    )
  }

  subscribe(subject: string, { callback }: { callback: Callback }): Subscription {
    const subscription = new Subscription(this, subject, callback)
    this.subscriptions.add(subscription)
    this.#send('there', () => {
      if (this.subscriptions.has(subscription)) this.#network.server.subscribe(subscription)
    })
    return subscription
  }

  unsubscribe(subscription: Subscription): void {
    this.subscriptions.delete(subscription)
    this.#send('there', () => this.#network.server.unsubscribe(subscription))
  }

  async flush(): Promise<void> {
    const epoch = this.#epoch
    await this.#request(() => {}, REQUEST_MS_MAX)
    if (this.#epoch !== epoch) throw new Error('disconnected')
  }

  async rtt(): Promise<number> {
    await this.flush()
    return 1
  }

  reconnect(): Promise<void> {
    this.lose()
    return Promise.resolve()
  }

  isClosed(): boolean {
    return this.#state === 'closed'
  }

  close(): Promise<void> {
    this.kill()
    return Promise.resolve()
  }

  async *status(): AsyncGenerator<{ type: string }> {
    const queue: { type: string }[] = []
    let wake = (): void => {}
    this.#listeners.add(status => {
      queue.push(status)
      wake()
    })
    this.#closers.add(() => wake())
    while (!this.isClosed()) {
      const next = queue.shift()
      if (next) yield next
      else await new Promise<void>(resolve => (wake = resolve))
    }
  }

  /** What src/cluster has of a connection. */
  asNats(inlineBytesMax: number): Nats {
    const request = <T>(act: (server: SimulatedServer) => T): Promise<T> => this.#request(act, REQUEST_MS_MAX)
    const messageOf =
      (name: string, { last_by_subj: subject }: { last_by_subj: string }) =>
      (server: SimulatedServer): (StoredMessage & { seq: number }) | null => {
        const message = server.stream(name).lastOf(subject)
        return message ? { ...message, seq: message.sequence } : null
      }
    const manager = {
      streams: {
        info: (name: string) =>
          request(server => {
            const { config, lastSequence, messages } = server.stream(name)
            return { config, state: { last_seq: lastSequence, messages: messages.size } }
          }),
        add: (config: StreamConfig) => request(server => server.addStream(config)),
        purge: (name: string, options: { filter?: string; seq?: number }) =>
          request(server => server.stream(name).purge(options)),
        getMessage: (name: string, query: { last_by_subj: string }) => request(messageOf(name, query)),
      },
      consumers: {
        info: (stream: string, name: string) =>
          request(server => {
            const { config, ackFloor } = server.consumer(stream, name)
            return { config, ack_floor: { stream_seq: ackFloor } }
          }),
        add: (stream: string, config: ConsumerConfig) =>
          request(server => ({ name: server.addConsumer(stream, config) })),
        delete: (stream: string, name: string) =>
          request(server => server.stream(stream).consumers.delete(name)),
      },
      direct: {
        getMessage: (name: string, query: { last_by_subj: string }) => request(messageOf(name, query)),
      },
    }
    const write = (subject: string, data: Uint8Array, { msgID }: { msgID?: string } = {}) =>
      this.#request(server => ({ seq: server.store(subject, data, msgID).sequence }), WRITE_MS_MAX)
    const publisher = {
      publish: write,
      consumers: {
        get: (stream: string, name: string) => Promise.resolve(this.#reader(stream, name)),
      },
    }
    return {
      connection: this,
      manager,
      publisher,
      writer: { write },
      inlineBytesMax,
      payloadBytesMax: 8 << 20,
    } as unknown as Nats
  }

  #reader(stream: string, name: string): unknown {
    return {
      info: () =>
        this.#request(server => ({ num_pending: server.consumer(stream, name).unread }), REQUEST_MS_MAX),
      fetch: async ({ max_messages: count, expires }: { max_messages: number; expires: number }) => {
        try {
          return await this.#request(server => server.consumer(stream, name).read(count), expires)
        } catch {
          // Nothing came in time, which ends the fetch and is no error.
          return []
        }
      },
    }
  }
}
