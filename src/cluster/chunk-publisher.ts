/**
 * Gives the chunks of a program to the server. Invariant: a chunk is given to it until it says that it has it, or nobody
 * wants the chunk any more, or nothing can be sent for too long; a repetition is recognised by its id.
 */
import { ProcessError } from '../errors.ts'
import type { ClusterSettings } from '../pool/cluster-option.ts'
import type { PoolNames } from './names.ts'
import type { Nats } from './nats-client.ts'
import type { Post } from './post.ts'
import { RequirementClasses } from './requirement-classes.ts'
import type { SentChunk, SentCode } from './sent-chunk.ts'
import { isForbidden } from './until-answered.ts'
import { type NamedBundle, type WorkHead, codeName } from './work-message.ts'

/** A shorter function goes along with each chunk. */
const inlineCodeBytesMax = 4096
/** Stored code is deleted by the server after a day. */
const codeMsMax = 12 * 3600_000
const betweenPublishesMs = 200
/** A chunk that no server has taken for so many times `connectionTimeout` fails, although it keeps coming back. */
const absencesMax = 10

/** The link, as it is seen from here. */
export interface PublisherOwner {
  readonly session: string
  isAway(): boolean
  /** By `performance.now()`. */
  backSinceMs(): number
  isOpen(chunk: SentChunk): boolean
  /** It went out, and nobody wants it any more. */
  withdraw(chunk: SentChunk): void
  /** It can never be sent. */
  failed(chunk: SentChunk, error: Error): void
  /** Nothing can be sent. */
  onStuck(error: unknown): void
  onFull(): void
}

export class ChunkPublisher {
  readonly classes: RequirementClasses
  readonly #nats: Nats
  readonly #post: Post
  readonly #settings: ClusterSettings
  readonly #owner: PublisherOwner
  #bundles: (SentCode & { byteLength: number; url: string })[]
  /** What has been taken and is not on the server. */
  bufferedBytes = 0

  constructor(
    { nats, names, post, leaseMs }: { nats: Nats; names: PoolNames; post: Post; leaseMs: number },
    settings: ClusterSettings,
    owner: PublisherOwner,
  ) {
    this.#nats = nats
    this.#post = post
    this.#settings = settings
    this.#owner = owner
    this.#bundles = (settings.bundles ?? []).map(({ bytes, ...named }) => ({
      ...named,
      bytes: bytes ?? new Uint8Array(),
      // Without bytes it was stored by another program.
      storedAtMs: bytes ? undefined : Infinity,
      storing: undefined,
    }))
    this.classes = new RequirementClasses(nats, names, { post, leaseMs })
  }

  async publish(chunk: SentChunk): Promise<void> {
    if (chunk.isPublishing) return
    chunk.isPublishing = true
    chunk.sends++
    this.bufferedBytes += chunk.byteLength
    try {
      await this.#publishUntilTaken(chunk)
    } finally {
      this.bufferedBytes -= chunk.byteLength
      chunk.isPublishing = false
      chunk.sentAtMs = performance.now()
      // It was called off, or answered after all, while it went out.
      if (!this.#owner.isOpen(chunk)) this.#owner.withdraw(chunk)
    }
  }

  async #publishUntilTaken(chunk: SentChunk): Promise<void> {
    const beganMs = performance.now()
    const { chunkId } = chunk.head
    const owner = this.#owner
    let letter: { bytes: Uint8Array } | undefined
    while (owner.isOpen(chunk)) {
      try {
        if (chunk.requires) await this.classes.ensure(chunk.requires)
        letter ??= await this.#write(chunk)
        const msgID = `${owner.session}.${chunkId}.${chunk.sends}`
        await this.#nats.writer.write(chunk.subject, letter.bytes, { msgID })
        return
      } catch (error) {
        if (error instanceof ProcessError) {
          owner.failed(chunk, error)
          return
        }
        if (isForbidden(error)) {
          owner.onStuck(error)
          return
        }
        const isFull = error instanceof Error && /maximum (?:messages|bytes)/.test(error.message)
        if (!isFull && !owner.isAway() && this.#isLate(beganMs)) {
          owner.onStuck(error)
          return
        }
        if (isFull) owner.onFull()
        await new Promise<void>(resolve => {
          setTimeout(resolve, betweenPublishesMs)
        })
      }
    }
  }

  /**
   * Of the time in which the server takes nothing, that does not count in which it was away: it may be back since a
   * moment ago only, and what was sent before is lost. But it cannot come and go for ever.
   */
  #isLate(beganMs: number): boolean {
    const { connectionMsMax } = this.#settings
    const nowMs = performance.now()
    const hereMs = nowMs - Math.max(beganMs, this.#owner.backSinceMs())
    return hereMs > connectionMsMax || nowMs - beganMs > absencesMax * connectionMsMax
  }

  async #write(chunk: SentChunk): Promise<{ bytes: Uint8Array }> {
    const { code, head, bodies } = chunk
    const isInline = code.bytes.length <= inlineCodeBytesMax
    if (!isInline) await this.#storeCode(code)
    for (const bundle of this.#bundles) await this.#storeCode(bundle)
    const work: WorkHead = {
      ...(this.#bundles.length > 0 ? { bundles: this.#bundles.map(nameOf) } : {}),
      chunk: head,
      code: { hash: code.hash, byteLength: code.bytes.length, isInline },
    }
    const letter = await this.#post.write(chunk.subject, {
      name: `${this.#owner.session}-${head.chunkId}-${chunk.sends}`,
      head: work,
      frames: [...(isInline ? [code.bytes] : []), ...bodies.map(({ bytes }) => bytes)],
    })
    chunk.storedName = letter.storedName
    return letter
  }

  /** Agents did not find what it stands for: it is stored again, or done without. */
  codeIsGone(code: SentCode): void {
    code.storedAtMs = undefined
    this.#bundles = this.#bundles.filter(({ bytes }) => bytes.length > 0)
    for (const bundle of this.#bundles) bundle.storedAtMs = undefined
  }

  async #storeCode(code: SentCode): Promise<void> {
    if (code.storedAtMs !== undefined && performance.now() - code.storedAtMs < codeMsMax) return
    code.storing ??= (async () => {
      try {
        await this.#post.payloads.put(codeName(code.hash), code.bytes)
        code.storedAtMs = performance.now()
      } finally {
        code.storing = undefined
      }
    })()
    await code.storing
  }
}

function nameOf({ hash, byteLength, url }: NamedBundle): NamedBundle {
  return { hash, byteLength, url }
}
