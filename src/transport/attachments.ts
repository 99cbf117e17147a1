/**
 * What travels beside the bytes of a message. Between threads that is shared memory and message ports, each once,
 * however often a value refers to it; and everywhere it is large binary data, copied when the message was written.
 */
import { MessagePort } from 'node:worker_threads'
import { LentBytes, lend } from '../platform/arena.ts'
import type { Beside } from '../serialize/codec.ts'
import { assertFrameLength } from './connection.ts'
import { tableBytes } from './frame-format.ts'

/** From here on binary data travels beside the message. Below, copying it with the rest is cheaper. */
export const BESIDE_BYTES_MIN = 64 * 1024

/** Collects attachments while a value is encoded; `attach` and `beside` are the codec's hooks. */
export class AttachmentList {
  readonly items: unknown[] = []
  /** Most messages have nothing beside them. */
  #indexes: Map<object, number> | undefined
  #isLarge = false

  /** The index of `value` among the attachments, or `undefined` when it is nothing that can be attached. */
  readonly attach = (value: object): number | undefined => {
    if (!(value instanceof SharedArrayBuffer) && !(value instanceof MessagePort)) return undefined
    return this.#add(value, value)
  }

  readonly beside: Beside = {
    place: (owner, bytes) => {
      if (bytes.length < BESIDE_BYTES_MIN) return undefined
      this.#isLarge = true
      return this.#add(owner, bytes)
    },
    clear: () => {
      this.items.length = 0
      this.#indexes = undefined
      this.#isLarge = false
    },
  }

  #add(owner: object, item: unknown): number {
    const indexes = (this.#indexes ??= new Map<object, number>())
    let index = indexes.get(owner)
    if (index === undefined) {
      index = this.items.push(item) - 1
      indexes.set(owner, index)
    }
    return index
  }

  /**
   * The attachments of the message that was written, with copies in the place of large data: what it was copied from
   * may change from now on. That the message can be sent is found out here, and not when half of it was.
   *
   * @param bytes - the message
   * @param isReadOften - whether several may read the message, or one more than once; else a thread can be given the copy itself
   * @returns `undefined` when there are none
   * @throws RangeError when a frame would be longer than any may be
   */
  finish(
    bytes: Uint8Array,
    { canAttach, isReadOften }: { canAttach: boolean; isReadOften: boolean },
  ): unknown[] | undefined {
    const { items } = this
    assertFrameLength(bytes.length + tableBytes(items.length))
    if (items.length === 0) return undefined
    if (!this.#isLarge) return items
    const finished: unknown[] = []
    try {
      for (const item of items)
        finished.push(item instanceof Uint8Array ? snapshot(item, { canAttach, isReadOften }) : item)
    } catch (error) {
      releaseAttachments(finished)
      throw error
    }
    return finished
  }
}

function snapshot(
  bytes: Uint8Array,
  { canAttach, isReadOften }: { canAttach: boolean; isReadOften: boolean },
): LentBytes | ArrayBufferLike {
  // Moved to the thread as it is.
  if (canAttach && !isReadOften) return Uint8Array.from(bytes).buffer
  const lent = lend(bytes, { isReadOften })
  if (lent !== undefined) return lent
  if (!canAttach) {
    // It travels in a frame of its own.
    assertFrameLength(bytes.length)
    return Uint8Array.from(bytes).buffer
  }
  // A thread copies it, and it is still here for the next.
  const shared = new SharedArrayBuffer(bytes.length)
  new Uint8Array(shared).set(bytes)
  return shared
}

/** A message will not be sent again: what was lent for it can be used for the next. */
export function releaseAttachments(attachments: readonly unknown[] | undefined): void {
  if (attachments === undefined) return
  for (const item of attachments) if (item instanceof LentBytes) item.release()
}

/** How many bytes of large data travel beside a message. */
export function bytesBeside(attachments: readonly unknown[] | undefined): number {
  let sum = 0
  if (attachments === undefined) return sum
  for (const item of attachments)
    if (item instanceof LentBytes || item instanceof ArrayBuffer) sum += item.byteLength
  return sum
}
