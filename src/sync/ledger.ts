/**
 * Who has what of a shared object: one entry for each member of the heap that has something of it, so that what a
 * member had when it ended can be given back. It changes under a short lock of its own, in such an order that the
 * block is right after every single store: a member can be killed anywhere in between.
 */
import { ClosedError } from '../errors.ts'
import type { HeldBlocks } from '../platform/heap-objects.ts'
import { PAYLOAD_WORDS } from '../platform/heap-layout.ts'
import { BLOCK_KINDS } from './block-kinds.ts'
import { LockWord } from './lock-word.ts'
import { newSleep, type SyncHeap } from './waiting.ts'

/** In the main block, counted from its payload. */
const MAIN = { lock: 0, next: 1, nextGeneration: 2, used: 3, state: 4, entries: 10 } as const
/** In a block with further entries. */
const MORE = { next: 0, nextGeneration: 1, entries: 2 } as const
/** An entry: the token of a member (0 in a free one), and what it has. */
const ENTRY_WORDS = 2
/** How many words the user of the ledger has, from {@link Ledger.state} on. */
export const LEDGER_STATE_WORDS = MAIN.entries - MAIN.state

interface Table {
  readonly entries: number
  readonly capacity: number
}

export class Ledger {
  /** Index of the first word that belongs to the user of the ledger. All change only between enter() and leave(). */
  readonly state: number
  readonly #heap: SyncHeap
  readonly #words: Int32Array
  readonly #base: number
  readonly #token: number
  readonly #lock: LockWord
  readonly #blocks: HeldBlocks
  readonly #tables: Table[]
  #own = 0
  /** Where the last table names the next block: its index + 1 (0 for none), then its generation. */
  #tail: number

  constructor(heap: SyncHeap, blocks: HeldBlocks) {
    const { base } = blocks[0]
    this.#heap = heap
    this.#words = heap.words
    this.#blocks = blocks
    this.#base = base
    this.#token = heap.token
    this.#lock = new LockWord(heap, base + MAIN.lock)
    this.state = base + MAIN.state
    this.#tables = [
      {
        entries: base + MAIN.entries,
        capacity: Math.floor((PAYLOAD_WORDS - MAIN.entries) / ENTRY_WORDS),
      },
    ]
    this.#tail = base + MAIN.next
  }

  /** Takes the ledger's lock, from a member that was killed between enter() and leave() as well. */
  enter(): void {
    if (!this.#lock.tryFast()) {
      const sleep = newSleep()
      for (;;) {
        const { ends } = this.#heap
        if (this.#lock.attempt(sleep) !== undefined) break
        sleep.hasSlept = true
        this.#heap.waitSync(sleep.index, sleep.expected, Infinity, ends)
      }
    }
    this.#follow()
  }

  leave(): void {
    this.#lock.release()
  }

  /** The sum of what all members have, ended ones included. */
  get sum(): number {
    const words = this.#words
    let sum = 0
    let left = words[this.#base + MAIN.used]!
    for (let table = 0; left > 0 && table < this.#tables.length; table++) {
      const { entries, capacity } = this.#tables[table]!
      const end = entries + Math.min(left, capacity) * ENTRY_WORDS
      for (let at = entries; at < end; at += ENTRY_WORDS) if (words[at] !== 0) sum += words[at + 1]!
      left -= capacity
    }
    return sum
  }

  /** Indexes of the words that say what a member has, of all members that have something. */
  *entries(): Generator<number, void, void> {
    const words = this.#words
    let left = words[this.#base + MAIN.used]!
    for (const { entries, capacity } of this.#tables) {
      const count = Math.min(left, capacity)
      for (let at = entries; at < entries + count * ENTRY_WORDS; at += ENTRY_WORDS) {
        if (words[at] !== 0 && words[at + 1] !== 0) yield at + 1
      }
      left -= count
    }
  }

  /** Whether the member of the entry is alive. */
  isAlive(entry: number): boolean {
    return this.#heap.isAlive(this.#words[entry - 1]!)
  }

  /** Whether the entry is that of this process or thread. */
  isOwn(entry: number): boolean {
    return this.#words[entry - 1] === this.#token
  }

  /** Takes away what a member has, in one store. */
  clear(entry: number): void {
    Atomics.store(this.#words, entry - 1, 0)
  }

  /** The word of this process or thread. It keeps its place as long as it is not 0. */
  get own(): number {
    if (this.#own !== 0 && this.#words[this.#own - 1] === this.#token) return this.#own
    this.#own = this.#find() ?? this.#claim()
    return this.#own
  }

  #find(): number | undefined {
    for (const entry of this.entries()) if (this.isOwn(entry)) return entry
    return undefined
  }

  #claim(): number {
    const words = this.#words
    const used = words[this.#base + MAIN.used]!
    for (;;) {
      let place = 0
      for (const { entries, capacity } of this.#tables) {
        for (let at = entries; at < entries + capacity * ENTRY_WORDS; at += ENTRY_WORDS, place++) {
          // A place is free when its member has nothing, alive or not.
          if (place < used && words[at] !== 0 && words[at + 1] !== 0) continue
          Atomics.store(words, at, 0)
          Atomics.store(words, at + 1, 0)
          Atomics.store(words, at, this.#token)
          if (place >= used) Atomics.store(words, this.#base + MAIN.used, place + 1)
          return at + 1
        }
      }
      this.#extend()
    }
  }

  #extend(): void {
    const block = this.#heap.allocate(BLOCK_KINDS.ledger)
    Atomics.store(this.#words, this.#tail + 1, block.handle.generation)
    Atomics.store(this.#words, this.#tail, block.handle.index + 1)
    this.#blocks.push(block)
    this.#addTable(block.base)
  }

  /** Takes up the blocks that others have added. Everybody does, so that they are held as long as the object is. */
  #follow(): void {
    for (;;) {
      const index = this.#words[this.#tail]! - 1
      if (index < 0) return
      const generation = this.#words[this.#tail + 1]!
      const { heap } = this.#blocks[0].handle
      try {
        const block = this.#heap.attach({ heap, index, generation }, BLOCK_KINDS.ledger)
        this.#blocks.push(block)
        this.#addTable(block.base)
      } catch (error) {
        if (!(error instanceof ClosedError)) throw error
        // All who had it have ended before anybody else came here, and so has what they had.
        Atomics.store(this.#words, this.#tail, 0)
        this.#dropEntriesBeyondTables()
      }
    }
  }

  #dropEntriesBeyondTables(): void {
    const capacity = this.#tables.reduce((sum, table) => sum + table.capacity, 0)
    const used = this.#base + MAIN.used
    if (this.#words[used]! > capacity) Atomics.store(this.#words, used, capacity)
  }

  #addTable(base: number): void {
    this.#tables.push({
      entries: base + MORE.entries,
      capacity: Math.floor((PAYLOAD_WORDS - MORE.entries) / ENTRY_WORDS),
    })
    this.#tail = base + MORE.next
  }
}
