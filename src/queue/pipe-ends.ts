/**
 * The block that both ends of a pipe share: which members have which end open, and which end is on its way to one. It
 * tells an end when nobody can have the other any more, whatever became of those who had it. See "Pipe" in README.md.
 */
import { BLOCK, MEMBERS_MAX } from '../platform/heap-layout.ts'
import { type BlockHandle, type HeldBlock, type SharedHeap, sharedHeap } from '../platform/shared-heap.ts'
import { IN_FLIGHT_MS } from './shared-objects.ts'

/** Which of the two. */
export type End = 0 | 1

const PIPE_KIND = 33
const MASK_WORDS = MEMBERS_MAX / 32
/** Words for each end. */
const END = {
  /** A bit for each member that has it open. It counts only together with the member's bit as holder of the block. */
  open: 0,
  /** How often it was sent, and has arrived. */
  sent: MASK_WORDS,
  arrived: MASK_WORDS + 1,
  /** The member that sent it last, and until when it may take to arrive, in seconds from {@link EPOCH_MS}. */
  sender: MASK_WORDS + 2,
  until: MASK_WORDS + 3,
} as const
const END_WORDS = MASK_WORDS + 4
/** Seconds from here on fit into a word: the 1st of January 2026. */
const EPOCH_MS = 1_767_225_600_000

export class PipeEnds {
  readonly #heap: SharedHeap
  readonly #block: HeldBlock

  private constructor(heap: SharedHeap, block: HeldBlock) {
    this.#heap = heap
    this.#block = block
  }

  static create(): PipeEnds {
    const heap = sharedHeap()
    return new PipeEnds(heap, heap.allocate(PIPE_KIND))
  }

  /** @throws ClosedError when nobody kept it until the handle arrived here. */
  static attach(handle: BlockHandle): PipeEnds {
    const heap = sharedHeap()
    const ends = new PipeEnds(heap, heap.attach(handle, PIPE_KIND))
    return ends
  }

  get heap(): SharedHeap {
    return this.#heap
  }

  get handle(): BlockHandle {
    return this.#block.handle
  }

  #at(end: End): number {
    return this.#block.base + end * END_WORDS
  }

  /** This process or thread has the end open. */
  open(end: End, { isFirst }: { isFirst: boolean }): void {
    const { words, token } = this.#heap
    const slot = token & (MEMBERS_MAX - 1)
    // Who had the place of this member before may have left a bit.
    if (isFirst) for (const each of [0, 1] as const) this.close(each)
    Atomics.or(words, this.#at(end) + END.open + (slot >>> 5), 1 << (slot & 31))
  }

  close(end: End): void {
    // The place of a member that has ended may be another's, who has the end open.
    if (this.#heap.hasEnded) return
    const { words, token } = this.#heap
    const slot = token & (MEMBERS_MAX - 1)
    Atomics.and(words, this.#at(end) + END.open + (slot >>> 5), ~(1 << (slot & 31)))
  }

  /** The end is put into a message: it counts as open until it has arrived, the sender ends, or time is up. */
  send(end: End): void {
    const { words, token } = this.#heap
    const at = this.#at(end)
    Atomics.store(words, at + END.sender, token)
    Atomics.store(words, at + END.until, Math.ceil((Date.now() + IN_FLIGHT_MS - EPOCH_MS) / 1000))
    Atomics.add(words, at + END.sent, 1)
  }

  /** A message with the end has arrived; also one that was sent several times as the same bytes. */
  arrive(end: End): void {
    const { words } = this.#heap
    const at = this.#at(end)
    for (;;) {
      const arrived = Atomics.load(words, at + END.arrived)
      if (arrived === Atomics.load(words, at + END.sent)) return
      if (Atomics.compareExchange(words, at + END.arrived, arrived, (arrived + 1) | 0) === arrived) return
    }
  }

  /** For how long the end may still be on its way, in milliseconds; 0 when it is not. */
  inFlightMs(end: End): number {
    const { words } = this.#heap
    const at = this.#at(end)
    if (Atomics.load(words, at + END.sent) === Atomics.load(words, at + END.arrived)) return 0
    if (!this.#heap.isAlive(Atomics.load(words, at + END.sender))) return 0
    return Math.max(0, Atomics.load(words, at + END.until) * 1000 + EPOCH_MS - Date.now())
  }

  /** Whether any process or thread has the end open. */
  isHeld(end: End): boolean {
    const { words } = this.#heap
    const holders = this.#block.base - BLOCK.payload + BLOCK.holders
    const open = this.#at(end) + END.open
    for (let word = 0; word < MASK_WORDS; word++) {
      const bits = Atomics.load(words, open + word)
      if (bits !== 0 && (bits & Atomics.load(words, holders + word)) !== 0) return true
    }
    return false
  }

  /** Whether a message to the end can still be read, and one from it can still come. */
  isOpen(end: End): boolean {
    return this.isHeld(end) || this.inFlightMs(end) > 0
  }

  release(): void {
    this.#block.release()
  }
}
