/**
 * This thread's way to homes in other processes: one bridge thread for all of them, and one link for each. Everything
 * goes through the bridge in one order, what is awaited and what blocks.
 */
import { type MessagePort, type Worker, receiveMessageOnPort } from 'node:worker_threads'
import { ClosedError } from '../errors.ts'
import type { HomeAddress } from '../platform/shared-heap.ts'
import { type BridgeStart, type FromBridge, HEARTBEAT_MS, SIGNAL, type ToBridge } from './bridge-thread.ts'
import { startServiceThread } from './service-thread.ts'

/** What a link is told. */
export interface LinkEvents {
  received(bytes: Uint8Array): void
  /** Once. Nothing is received afterwards. */
  ended(reason: 'unreachable' | 'ended' | 'broken', message: string): void
}

/** A bridge that has not moved for so long, while somebody is blocked, is gone. A busy machine can be this slow. */
const SILENT_MS_MAX = 60_000

export class Bridge {
  readonly #port: MessagePort
  readonly #worker: Worker
  readonly #signal = new Int32Array(new SharedArrayBuffer(8))
  readonly #links = new Map<number, LinkEvents>()
  #linkCount = 0
  #waits = 0
  #isOver = false

  /** @throws ProcessError `ERR_START_FAILED`. */
  constructor() {
    const { worker, port } = startServiceThread('bridge', (end): BridgeStart => ({
      port: end,
      signal: this.#signal,
    }))
    this.#port = port
    this.#worker = worker
    port.on('message', (message: FromBridge) => this.#receive(message))
    port.unref()
    worker.unref()
    worker.on('error', error => this.#break(error.message))
    worker.on('exit', () => this.#break('its thread has ended'))
  }

  connect(address: HomeAddress, events: LinkEvents): number {
    const link = ++this.#linkCount
    this.#links.set(link, events)
    this.#post({ kind: 'connect', link, address })
    return link
  }

  /** The bytes are moved when they have memory of their own. */
  send(link: number, bytes: Uint8Array<ArrayBuffer>): void {
    const own = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice()
    this.#post({ kind: 'frame', link, bytes: own }, [own.buffer])
  }

  #post(message: ToBridge, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer)
  }

  #receive(message: FromBridge): void {
    if (message.kind === 'frame') this.#links.get(message.link)?.received(message.bytes)
    else this.#end(message.link, message.reason, message.message)
  }

  #end(link: number, reason: 'unreachable' | 'ended' | 'broken', message: string): void {
    const events = this.#links.get(link)
    this.#links.delete(link)
    events?.ended(reason, message)
    // Nobody is connected any more. The next one starts another bridge.
    if (this.#links.size === 0 && !this.#isOver) this.#stop()
  }

  #stop(): void {
    this.#isOver = true
    this.#port.close()
    void this.#worker.terminate()
  }

  /** Whether it has ended, and another is needed. */
  get isOver(): boolean {
    return this.#isOver
  }

  #break(why: string): void {
    this.#isOver = true
    for (const link of this.#links.keys()) this.#end(link, 'broken', why)
  }

  /** Something is awaited: it keeps the program alive until `endWait()`. */
  beginWait(): void {
    if (++this.#waits === 1) this.#port.ref()
  }

  endWait(): void {
    if (--this.#waits === 0) this.#port.unref()
  }

  /**
   * Blocks this thread until `isDone()`, or for `timeoutMs`. Messages are received meanwhile, in order.
   *
   * @throws ClosedError when the bridge has died.
   */
  block(isDone: () => boolean, timeoutMs = Infinity): void {
    const signal = this.#signal
    const until = performance.now() + timeoutMs
    let beat = Atomics.load(signal, SIGNAL.heartbeat)
    let beatAt = performance.now()
    for (;;) {
      const seen = Atomics.load(signal, SIGNAL.messages)
      for (let got; (got = receiveMessageOnPort(this.#port)) !== undefined;) {
        this.#receive(got.message as FromBridge)
      }
      const now = performance.now()
      if (isDone() || now >= until) return
      Atomics.wait(signal, SIGNAL.messages, seen, Math.min(HEARTBEAT_MS, until - now))
      const beatNow = Atomics.load(signal, SIGNAL.heartbeat)
      if (beatNow !== beat) {
        beat = beatNow
        beatAt = performance.now()
      } else if (performance.now() - beatAt > SILENT_MS_MAX) {
        throw new ClosedError(
          'Cannot reach the process that made the shared object: the thread that connects to it does not answer\n' +
            'To fix: report it, with what the program did to its threads',
        )
      }
    }
  }
}
