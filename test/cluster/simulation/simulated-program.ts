/**
 * A program that maps numbers: the real `ClusterLink`, and as much of a pool as there has to be to give it chunks and to
 * account for each item. What an answer says of which item follows "Chunks" in src/pool/README.md.
 */
import assert from 'node:assert/strict'
import { ClusterLink } from '#src/cluster/cluster-link.js'
import { PoolNames } from '#src/cluster/names.js'
import { openStreams } from '#src/cluster/pool-streams.js'
import type { ClusterSettings } from '#src/pool/cluster-option.js'
import { type Elsewhere, type Machine, capacityFor, newElsewhere } from '#src/pool/elsewhere.js'
import type { Body, ChunkHead, FromWorker } from '#src/pool/protocol.js'
import { type Network, SimulatedClient } from './simulated-client.js'
import { itemBody, resultsIn } from './simulated-items.js'

/** Items that are to be sent. */
interface Part {
  first: number
  count: number
  isSolo: boolean
  deaths: number
}

interface Sent extends Part {
  /** How many of its items have their outcome. */
  done: number
}

export interface ProgramOptions {
  items: number
  chunkSize: number
  /** Bytes beside each chunk, and of the function. */
  padding: number
  codeBytes: number
  /** Every so many chunks one is called off, and given to the cluster again. */
  cancelEvery: number
  /** It is idle for so long first. */
  beginAfterMs?: number
}

const FUNCTION_ID = 1

export class SimulatedProgram {
  readonly client: SimulatedClient
  /** Of each item: how often it had a result, and how often it was said that it had died. */
  readonly results: Uint8Array
  readonly deaths: Uint8Array
  sentChunks = 0
  openMax = 0
  chunksMaxHeard = 4
  /** What ended the link, if that was an error. */
  error: Error | undefined
  isDone = false
  readonly #options: ProgramOptions
  readonly #open = new Map<number, Sent>()
  readonly #again: Part[] = []
  #link: ClusterLink | undefined
  #hasBegun = false
  #next = 0
  #settled = 0
  #chunksMax = 4
  #hasEnded = false
  #isDead = false

  constructor(network: Network, options: ProgramOptions) {
    this.client = new SimulatedClient(network)
    this.#options = options
    this.results = new Uint8Array(options.items)
    this.deaths = new Uint8Array(options.items)
  }

  async open(settings: ClusterSettings, inlineBytesMax: number): Promise<void> {
    const nats = this.client.asNats(inlineBytesMax)
    const names = new PoolNames(settings.poolName)
    const rules = await openStreams(nats, names, settings)
    const elsewhere = newElsewhere(settings)
    const events = {
      emit: (message: FromWorker, bodies: Body[]) => {
        try {
          this.#hear(message, bodies)
        } catch (error) {
          // The link would take it for a server that is away.
          this.error ??= error as Error
          this.#hasEnded = true
        }
      },
      noteMachines: (machines: readonly Machine[]) => {
        elsewhere.machines = machines
        this.#noteRoom(elsewhere)
      },
      noteLookAhead: (chunksPerProcess: number) => {
        elsewhere.chunksPerProcess = chunksPerProcess
        this.#noteRoom(elsewhere)
      },
      isOver: false,
      ended: (error?: Error) => {
        this.error = error
        this.#hasEnded = true
      },
    }
    this.#link = await ClusterLink.open(settings, events, { nats, rules })
    const { beginAfterMs } = this.#options
    // Sleep: in time that is not real.
    if (beginAfterMs !== undefined) await new Promise(resolve => setTimeout(resolve, beginAfterMs))
    this.#hasBegun = true
    if (this.#isDead) {
      this.#link.kill({ isHard: true })
      return
    }
    const code = { bytes: Buffer.alloc(this.#options.codeBytes, 7) }
    this.#link.take({ type: 'function', bodies: 1, functionId: FUNCTION_ID }, [code])
    this.#fill()
  }

  /** Whether every item has its outcome and the link has ended by itself. */
  get hasEnded(): boolean {
    return this.#hasEnded || this.#isDead
  }

  get isOpen(): boolean {
    return this.#link !== undefined
  }

  get isKilled(): boolean {
    return this.#isDead
  }

  /** kill -9: its timers end with it, and nobody is told. */
  kill(): void {
    if (this.hasEnded) return
    this.#isDead = true
    this.client.kill()
    this.#link?.kill({ isHard: true })
  }

  #noteRoom(elsewhere: Elsewhere): void {
    this.#chunksMax = capacityFor(elsewhere, undefined).chunksMax
    this.chunksMaxHeard = Math.max(this.chunksMaxHeard, this.#chunksMax)
    this.#fill()
  }

  #fill(): void {
    while (
      this.#link &&
      this.#hasBegun &&
      !this.#isDead &&
      !this.#hasEnded &&
      this.#open.size < this.#chunksMax
    ) {
      const part = this.#again.shift() ?? this.#fresh()
      if (!part) break
      this.#send(part)
    }
  }

  #fresh(): Part | undefined {
    const first = this.#next
    const count = Math.min(this.#options.chunkSize, this.#options.items - first)
    if (count === 0) return undefined
    this.#next += count
    return { first, count, isSolo: false, deaths: 0 }
  }

  #send(part: Part): void {
    if (part.isSolo && part.count > 1) {
      this.#again.unshift({ ...part, first: part.first + 1, count: part.count - 1 })
      this.#send({ ...part, count: 1 })
      return
    }
    const { first, count, isSolo, deaths } = part
    const chunkId = this.sentChunks++
    const head: ChunkHead = {
      type: 'chunk',
      bodies: 1,
      chunkId,
      functionId: FUNCTION_ID,
      mode: 'item',
      count,
      isPacked: true,
      first,
      elsewhere: {
        taskName: 'task',
        timeoutMs: undefined,
        graceMs: 1000,
        priority: (chunkId % 5) - 2,
        deaths,
        isSolo,
      },
    }
    this.#open.set(chunkId, { ...part, done: 0 })
    this.openMax = Math.max(this.openMax, this.#open.size)
    this.#link!.take(head, [itemBody({ first, count }, this.#options.padding)])
    const { cancelEvery } = this.#options
    if (cancelEvery > 0 && chunkId % cancelEvery === cancelEvery - 1) this.#callOff(chunkId)
  }

  /** When the next chunk of the same is sent it is long gone. */
  #callOff(chunkId: number): void {
    queueMicrotask(() => {
      this.#link!.take(
        { type: 'cancel', bodies: 0, chunkId, why: 'cancel', notice: 0, graceMs: 1000 } as never,
        [],
      )
    })
  }

  #hear(message: FromWorker, bodies: Body[]): void {
    if (!('chunkId' in message)) return
    const sent = this.#open.get(message.chunkId)
    assert.ok(
      sent,
      `An answer (${message.type}) for the chunk ${message.chunkId}, which has all of its outcomes`,
    )
    const first = sent.first + sent.done
    switch (message.type) {
      case 'results': {
        assert.equal(message.first, sent.done, 'results in the order of the items')
        const given = bodies.map(({ bytes }) => resultsIn(bytes))
        assert.equal(given[0]!.first, first)
        assert.equal(
          given.reduce((sum, { count }) => sum + count, 0),
          message.count,
        )
        for (let item = first; item < first + message.count; item++) this.results[item]!++
        this.#settle(message.chunkId, sent, message.count)
        break
      }
      case 'died':
        this.deaths[first]!++
        this.#settle(message.chunkId, sent, 1)
        break
      case 'again':
      case 'skipped': {
        const more = message.type === 'again' ? message : { isSolo: false, deaths: 0 }
        const { count } = message
        this.#again.push({ first, count, isSolo: more.isSolo, deaths: more.deaths })
        this.#settle(message.chunkId, sent, count, true)
        break
      }
      default:
        assert.fail(`An answer of the type ${message.type}`)
    }
    this.#fill()
  }

  #settle(chunkId: number, sent: Sent, count: number, isAgain = false): void {
    sent.done += count
    assert.ok(sent.done <= sent.count, `The chunk ${chunkId} has more outcomes than items`)
    if (!isAgain) this.#settled += count
    if (sent.done === sent.count) this.#open.delete(chunkId)
    if (this.#settled < this.#options.items || this.isDone) return
    this.isDone = true
    queueMicrotask(() => this.#link!.take({ type: 'stop', bodies: 0 }, []))
  }
}
