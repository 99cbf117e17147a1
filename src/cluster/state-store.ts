/**
 * Keys and sealed values in a stream of the server, with compare and swap: what all shared state is made of. Invariants:
 * what is given out was sealed with the key for that very subject, and an answer that got lost makes nothing happen twice.
 * See "Keys and values" in README.md.
 */
import { randomBytes } from 'node:crypto'
import { AuthenticationError, ProcessError } from '../errors.ts'
import { decode, encode } from '../serialize/codec.ts'
import type { ClusterSettings } from '../pool/cluster-option.ts'
import { type Nats, connectionError, serverError } from './nats-client.ts'
import { open, seal } from './sealed-message.ts'
import type { StateNames } from './state-names.ts'
import { LATE, StateWaits } from './state-waits.ts'
import { isForbidden, isPassing } from './until-answered.ts'

/** What is under a key. */
export interface StateEntry {
  /** Of the last change; the server gives each change of any key a larger one. */
  sequence: number
  /** Nothing, where the server notes that what was here has outlived its time. */
  content: StateContent | undefined
}

export interface StateContent {
  head: StateHead
  frames: Uint8Array[]
}

/** The first frame of every value. */
export interface StateHead {
  /** Different in every message, so that a program knows its own. */
  nonce: string
  /** The changes that were made last, so that who made one finds it, also when others have changed it again. */
  changes?: string[]
}

const answerMsMax = 3000
const betweenAttemptsMs = 150
/** A change that was made is found until so many other programs have changed the key; see "Keys and values". */
const changesKept = 32
const conflictsMax = 1000
const backoffMsMax = 50

/** Codes of JetStream. */
const WRONG_SEQUENCE = 10_071
const NO_MESSAGE = 10_057
const STORE_FULL = new Set([10_077, 10_076, 10_047, 10_023])

export function isStoreFull(error: unknown): boolean {
  return STORE_FULL.has((error as { code?: number }).code ?? 0)
}

export class StateStore {
  readonly nats: Nats
  readonly names: StateNames
  readonly settings: ClusterSettings
  readonly waits = new StateWaits()
  /** What is held here; given back when the state is closed. */
  readonly leases = new Set<{ release: () => Promise<void> }>()

  /** Nobody else's, and what this program has changed so far. */
  readonly #program = newNonce()
  #changeCount = 0
  /** Changes whose answers are not here yet. */
  readonly #underWay = new Set<string>()

  constructor(nats: Nats, names: StateNames, settings: ClusterSettings) {
    this.nats = nats
    this.names = names
    this.settings = settings
  }

  /**
   * Asks the server until it answers. `act` is told whether it was asked before, without an answer.
   *
   * @throws ClosedError; ClusterError when it is away for too long, or refuses; what `cut` says.
   */
  async request<T>(act: (isAgain: boolean) => Promise<T>, cut?: AbortSignal): Promise<T> {
    const beganMs = performance.now()
    for (let isAgain = false; ; isAgain = true) {
      this.waits.assertOpen()
      cut?.throwIfAborted()
      let failure: unknown
      try {
        const answer = await this.waits.answered(act(isAgain), answerMsMax)
        if (answer !== LATE) return answer
      } catch (error) {
        this.waits.assertOpen()
        if (!isPassing(error) || isStoreFull(error))
          throw isRefusal(error) ? refusal('it refuses a request of shared state', error) : error
        failure = error
      }
      const { connectionMsMax } = this.settings
      if (performance.now() - beganMs > connectionMsMax)
        throw connectionError(this.settings, `it has not answered for ${connectionMsMax} ms`, failure)
      await this.waits.pause(betweenAttemptsMs)
    }
  }

  /** @throws AuthenticationError for what was not sealed with this key. */
  async get(subject: string, cut?: AbortSignal): Promise<StateEntry | undefined> {
    const query = { last_by_subj: subject }
    const found = await this.request(
      () => this.nats.manager.streams.getMessage(this.names.stream, query),
      cut,
    )
    if (found === null) return undefined
    const isEnd = found.data.length === 0 && found.header.has('Nats-Marker-Reason')
    return { sequence: found.seq, content: isEnd ? undefined : this.openValue(subject, found.data) }
  }

  /** @throws AuthenticationError. */
  openValue(subject: string, bytes: Uint8Array): StateContent {
    const [head, ...frames] = open(this.settings.key, subject, bytes) ?? []
    if (!head) throw wrongKey(this.names.state)
    return { head: decode(head) as StateHead, frames }
  }

  /**
   * Writes a value. `sequence`: only if that is still the last change of the key, 0 where it has none.
   *
   * @returns what the server gave it, or `undefined` when somebody else has changed the key
   * @throws ProcessError `ERR_LIMIT` when it is too long, or there is no room for it.
   */
  async put(
    subject: string,
    frames: readonly Uint8Array[],
    { sequence, lifeMs, changes, nonce = newNonce(), cut }: PutOptions = {},
  ): Promise<Written | undefined> {
    const head: StateHead = { nonce, ...(changes ? { changes } : {}) }
    const bytes = seal(this.settings.key, subject, [encode(head), ...frames])
    this.assertLength(bytes)
    let firstMs: number | undefined
    try {
      return await this.request(async isAgain => {
        const sentMs = performance.now()
        firstMs ??= sentMs
        try {
          const { seq } = await this.nats.publisher.publish(subject, bytes, {
            ...(sequence === undefined ? {} : { expect: { lastSubjectSequence: sequence } }),
            ...(lifeMs === undefined ? {} : { ttl: `${Math.ceil(lifeMs)}ms` }),
          })
          return { sequence: seq, sentMs }
        } catch (error) {
          if ((error as { code?: unknown }).code !== WRONG_SEQUENCE) throw error
          if (!isAgain) return undefined
          // It may be this very message that came before, and the answer was lost.
          const entry = await this.get(subject, cut)
          return entry?.content?.head.nonce === nonce
            ? { sequence: entry.sequence, sentMs: firstMs }
            : undefined
        }
      }, cut)
    } catch (error) {
      if (!isStoreFull(error)) throw error
      throw new ProcessError(
        'ERR_LIMIT',
        `Cannot write to the shared state "${this.names.state}": its stream ${this.names.stream} on the server is full\nTo fix: delete what nobody needs any more, or let the stream have more ("max_msgs", "max_bytes") with the nats command`,
        { cause: error },
      )
    }
  }

  /** Deletes what is under a key, if nobody has changed it since. */
  async deleteAt(sequence: number, cut?: AbortSignal): Promise<boolean> {
    return await this.request(async isAgain => {
      try {
        return await this.nats.manager.streams.deleteMessage(this.names.stream, sequence, false)
      } catch (error) {
        // After a lost answer it is taken for the own deletion, which it nearly always is.
        if ((error as { code?: unknown }).code === NO_MESSAGE) return isAgain
        throw error
      }
    }, cut)
  }

  /**
   * Replaces what is under a key by what `step` makes of it, while nobody else changes it. `step` may be called several
   * times; when it gives no frames nothing changes.
   */
  async change<R>(
    subject: string,
    step: (content: StateContent | undefined) => Step<R> | Promise<Step<R>>,
    cut?: AbortSignal,
  ): Promise<R> {
    const nonce = `${this.#program}.${++this.#changeCount}`
    this.#underWay.add(nonce)
    try {
      return await this.#change(subject, nonce, step, cut)
    } finally {
      this.#underWay.delete(nonce)
    }
  }

  async #change<R>(
    subject: string,
    nonce: string,
    step: (content: StateContent | undefined) => Step<R> | Promise<Step<R>>,
    cut: AbortSignal | undefined,
  ): Promise<R> {
    let made: { result: R } | undefined
    for (let conflicts = 0; conflicts < conflictsMax; conflicts++) {
      const entry = await this.get(subject, cut)
      const before = entry?.content?.head.changes ?? []
      // Its answer was lost, and others have changed it since.
      if (made && before.includes(nonce)) return made.result
      const { frames, result } = await step(entry?.content)
      if (!frames) return result
      made = { result }
      const changes = [...before.filter(change => this.#isToBeKept(change)), nonce].slice(-changesKept)
      const written = await this.put(subject, frames, {
        sequence: entry?.sequence ?? 0,
        changes,
        nonce,
        ...(cut ? { cut } : {}),
      })
      if (written) return result
      // Several who change one key at once get out of each other's way.
      if (conflicts > 1) await this.waits.pause(Math.random() * Math.min(backoffMsMax, 2 ** conflicts))
    }
    throw new ProcessError(
      'ERR_LIMIT',
      `Cannot change ${subject}: others changed it ${conflictsMax} times meanwhile\nTo fix: hold a Lock of the state while you change it, or spread it over several keys`,
    )
  }

  /** Of each other program what it left; of this one what it may still have to look for. */
  #isToBeKept(change: string): boolean {
    return !change.startsWith(`${this.#program}.`) || this.#underWay.has(change)
  }

  /** How many keys there are under each subject that the filter has: one, or none. */
  async subjects(filter: string): Promise<string[]> {
    const { state } = await this.request(() =>
      this.nats.manager.streams.info(this.names.stream, { subjects_filter: filter }),
    )
    return Object.keys(state.subjects ?? {})
  }

  /** Tells everybody who waits for it, here and elsewhere, that there is something new. */
  poke(wake: string): void {
    this.waits.poke(wake)
    // One that gets lost costs a second.
    if (!this.nats.connection.isClosed()) this.nats.connection.publish(this.names.poke(wake))
  }

  /** @throws ProcessError `ERR_LIMIT`. */
  assertLength(bytes: Uint8Array): void {
    const bytesMax = this.nats.payloadBytesMax - headerBytesMax
    if (bytes.length <= bytesMax) return
    throw new ProcessError(
      'ERR_LIMIT',
      `Cannot write ${bytes.length} bytes to the shared state "${this.names.state}": the server takes ${bytesMax} at most\nTo fix: raise "max_payload" of the server, or put the data where all machines can read it, and share its address`,
    )
  }
}

/** What the client adds to a message. */
const headerBytesMax = 512

/** What becomes of a value; without frames it stays. */
export interface Step<R> {
  frames: Uint8Array[] | undefined
  result: R
}

/** A value that the server has. */
export interface Written {
  sequence: number
  /** When it was sent: the server had it no earlier. */
  sentMs: number
}

export interface PutOptions {
  sequence?: number
  /** After this time the server deletes it. */
  lifeMs?: number
  changes?: string[]
  nonce?: string
  cut?: AbortSignal
}

export function newNonce(): string {
  return randomBytes(9).toString('base64url')
}

export function wrongKey(state: string): AuthenticationError {
  return new AuthenticationError(
    `What is in the shared state "${state}" was not written with this key\nTo fix: give all programs that share it the same key ("authKey", or MULTIPROC_AUTH_KEY)`,
    { reason: 'it has another key' },
  )
}

/** A stream that somebody has deleted, a right that this user does not have. */
function isRefusal(error: unknown): boolean {
  if (isStoreFull(error)) return false
  if (isForbidden(error)) return true
  return /^(?:JetStream|StreamNotFound|ConsumerNotFound)/.test((error as Error).name)
}

/** What the server refuses is an error of the cluster. */
export function refusal(what: string, error: unknown): Error {
  return error instanceof ProcessError ? error : serverError(what, error)
}
