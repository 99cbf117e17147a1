/**
 * Memory that a program shares with all its children: locks, queues and shared arrays live in it. It is made of
 * blocks (small, always mapped) and of pages behind them (segments, mapped on demand). Every process and thread that
 * uses it is a member of it.
 *
 * With the addon the memory is the operating system's and children inherit its descriptor; without, it is a
 * SharedArrayBuffer, which reaches threads only. The rules for members, blocks and waiting are in README.md.
 */
import { randomBytes } from 'node:crypto'
import { threadId } from 'node:worker_threads'
import { ProcessError } from '../errors.ts'
import { trimFreeSegments } from './free-segments.ts'
import { type BlockHandle, type BlockKind, type HeldBlock, memberEnded, notKept } from './block-handle.ts'
import { isHeldByOthers, isKept, secondsOnTheWay, steadySeconds } from './block-holders.ts'
import {
  type HeapBackend,
  lifeOf,
  NativeBackend,
  type PendingWait,
  PortableBackend,
  type WaitOutcome,
} from './heap-backend.ts'
import {
  BLOCK,
  BLOCK_BYTES,
  BLOCK_WORDS,
  BLOCKS_NATIVE,
  BLOCKS_PORTABLE,
  BLOCKS_START_BYTES,
  HEADER,
  HEAP_BYTES_MAX,
  IN_FLIGHT_SECONDS,
  LIFE_ENDED,
  MAGIC,
  MEMBER,
  MEMBER_STATE,
  MEMBERS_MAX,
  SEGMENT_KIND,
  addonLayout,
  blockAt,
  controlBytes,
  isOfGeneration,
  memberAt,
  slotOf,
  tokenOf,
} from './heap-layout.ts'
import { HeapPages } from './heap-pages.ts'
import { giveUpNativeAddon, nativeAddon } from './native-addon.ts'
import { ownSystemThread } from './process-facts.ts'
import { ReaperRest } from './reaper-rest.ts'

export type { BlockHandle, BlockKind, HeldBlock, HomeAddress } from './block-handle.ts'

/** A search for a free block looks at no more than so many. */
const SEARCHED_MAX = 256

/** What a child is given to find the heap of its parent: a descriptor, the memory, or what its process has open. */
export type HeapInheritance = { fd: number; parentPid: number } | { buffer: SharedArrayBuffer } | 'process'

let current: SharedHeap | undefined
let inheritance: HeapInheritance | undefined

/** The heap of this program: inherited, or made by the first call. */
export function sharedHeap(): SharedHeap {
  return (current ??= inheritance === undefined ? SharedHeap.create() : SharedHeap.inherit(inheritance))
}

/** The heap if this process or thread has used it already. */
export function existingHeap(): SharedHeap | undefined {
  return current
}

/** Whether the heap of this thread or process is that of the one that started it. */
export function hasInheritedHeap(): boolean {
  return inheritance !== undefined
}

/** Whether this process was started by multiproc, and is not the program's own. */
export function isChildProcess(): boolean {
  return typeof inheritance === 'object' && 'fd' in inheritance
}

/**
 * Runs `action` with `member` as the heap of this thread: what it makes and attaches to belongs to that member. It must
 * not be async: after an `await` it would be the thread itself again.
 */
export function actAs<T>(member: SharedHeap, action: () => T): T {
  const before = current
  current = member
  try {
    return action()
  } finally {
    current = before
  }
}

/** Says where the parent's heap is found. Before the first use; nothing is opened by it. */
export function inheritHeap(from: HeapInheritance): void {
  inheritance = from
}

export class SharedHeap {
  readonly #backend: HeapBackend
  /** The control part. Use Atomics on everything that another member may change. */
  readonly words: Int32Array
  readonly id: number
  /** The memory of segments. */
  readonly pages: HeapPages
  /** How many there are of each block that this process or thread holds. */
  readonly #held = new Map<number, number>()
  #token = 0
  readonly #rest = new ReaperRest(() => this.reap())
  #hasEnded = false

  private constructor(backend: HeapBackend) {
    this.#backend = backend
    this.words = new Int32Array(backend.buffer)
    this.pages = new HeapPages(backend, this.words)
    if (this.words[HEADER.magic] === 0) this.#format()
    if (this.words[HEADER.magic] !== MAGIC) {
      throw new ProcessError(
        'ERR_PROTOCOL',
        'Cannot use the shared heap of the parent: its layout is of another version\n' +
          'To fix: use the same version of multiproc in parent and child',
      )
    }
    this.id = (this.words[HEADER.idHigh]! & 0xf_ffff) * 2 ** 32 + (this.words[HEADER.idLow]! >>> 0)
  }

  static create(): SharedHeap {
    const addon = nativeAddon()
    if (addon !== undefined) {
      try {
        const fd = addon.open(-1, HEAP_BYTES_MAX, addonLayout(), 0)
        return new SharedHeap(new NativeBackend(addon, fd, controlBytes(BLOCKS_NATIVE)))
      } catch (error) {
        // A sandbox may refuse memory that has no name. Everything portable goes on.
        giveUpNativeAddon(`this system refuses shared memory (${(error as Error).message})`)
      }
    }
    return SharedHeap.#portable(new SharedArrayBuffer(controlBytes(BLOCKS_PORTABLE)))
  }

  static inherit(from: HeapInheritance): SharedHeap {
    if (typeof from === 'object' && 'buffer' in from) return SharedHeap.#portable(from.buffer)
    const addon = nativeAddon()
    if (addon === undefined) {
      throw new ProcessError(
        'ERR_START_FAILED',
        'Cannot use the shared heap of the parent: the native addon cannot be loaded here\n' +
          'To fix: run "multiproc doctor" with the Node.js of the child, or set MULTIPROC_NATIVE=0 for both',
      )
    }
    // The process has it open already when one of its threads comes here.
    const { fd: known, parentPid } = from === 'process' ? { fd: -1, parentPid: 0 } : from
    const fd = addon.open(known, HEAP_BYTES_MAX, addonLayout(), parentPid)
    return new SharedHeap(new NativeBackend(addon, fd, controlBytes(BLOCKS_NATIVE)))
  }

  static #portable(buffer: SharedArrayBuffer): SharedHeap {
    const hasEnded = (endsSeen: number): boolean => heap.ends !== endsSeen || heap.#hasEndedMember()
    const heap = new SharedHeap(new PortableBackend(buffer, hasEnded))
    return heap
  }

  /** Whether other processes share it, and not only threads. */
  get isNative(): boolean {
    return this.#backend.fd !== undefined
  }

  /** What a child process inherits; `undefined` without the addon. */
  get fd(): number | undefined {
    return this.#backend.fd
  }

  /** What a thread is given when there is no descriptor. */
  get portableBuffer(): SharedArrayBuffer | undefined {
    return this.isNative ? undefined : (this.#backend.buffer as SharedArrayBuffer)
  }

  #format(): void {
    const { words } = this
    const random = randomBytes(8)
    words[HEADER.idLow] = random.readInt32LE(0)
    words[HEADER.idHigh] = random.readInt32LE(4)
    words[HEADER.blockCount] = Math.floor((words.byteLength - BLOCKS_START_BYTES) / BLOCK_BYTES)
    // No segment has page 0: a block that says so was not finished.
    words[HEADER.pageLimit] = 1
    Atomics.store(words, HEADER.magic, MAGIC)
  }

  /** Whether a process of this program has made memory with a name, which may have to be removed for it. */
  get hasNames(): boolean {
    return Atomics.load(this.words, HEADER.hasNames) === 1
  }

  noteNames(): void {
    Atomics.store(this.words, HEADER.hasNames, 1)
  }

  // ---- Members ----

  /**
   * This process or thread as a member: a number above 0 below 2^29 that no other member has, now or earlier. Its
   * first use makes it a member.
   */
  get token(): number {
    if (this.#hasEnded) throw memberEnded()
    if (this.#token === 0) {
      this.#token = this.#join()
      this.reap()
    }
    return this.#token
  }

  /**
   * Memory of this thread alone, whatever the heap of the program is: for who serves what lies in it to others, each of
   * them one of its members. It is gone with the thread, so nothing of it has to be cleaned up.
   */
  static createOwn(): SharedHeap {
    return SharedHeap.#portable(new SharedArrayBuffer(controlBytes(BLOCKS_PORTABLE)))
  }

  /** One more member in this thread, which acts for somebody who cannot be a member. Of a portable heap only. */
  anotherMember(): SharedHeap {
    return SharedHeap.#portable(this.#backend.buffer as SharedArrayBuffer)
  }

  /** Ends such a member while its thread goes on. What it held is given back by the rules for the dead. */
  end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    if (this.#token === 0) return
    const at = memberAt(slotOf(this.#token))
    Atomics.or(this.words, at + this.#backend.lifeWord, LIFE_ENDED)
  }

  /** Whether `end()` was called. Its place may be somebody else's since. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  #join(): number {
    const { words } = this
    for (let slot = 0; slot < MEMBERS_MAX; slot++) {
      const at = memberAt(slot)
      const life = Atomics.load(words, at + this.#backend.lifeWord)
      if (Atomics.load(words, at + MEMBER.state) !== MEMBER_STATE.free) continue
      // A record is free as well when its taker ended before it had become a member.
      if (life !== 0 && (life & LIFE_ENDED) === 0) continue
      // Before it holds anything: who looks for holders looks no further.
      raise(words, HEADER.memberLimit, slot + 1)
      if (!this.#backend.takeRecord(at * 4, life)) continue
      let token = tokenOf(Atomics.add(words, at + MEMBER.generation, 1) + 1, slot)
      // Generations start at 1 and skip 0, so that no token is 0.
      if (isOfGeneration(token, 0)) token = tokenOf(Atomics.add(words, at + MEMBER.generation, 1) + 1, slot)
      // In the order of MEMBER: the last is `systemThread`.
      words.set([process.pid, threadId, this.isNative ? 0 : ownSystemThread()], at + MEMBER.pid)
      Atomics.store(words, at + MEMBER.state, MEMBER_STATE.alive)
      return token
    }
    throw new ProcessError(
      'ERR_LIMIT',
      `Cannot use shared memory here: all ${MEMBERS_MAX} places for processes and threads of this program are taken\n` +
        'To fix: run fewer processes and threads at the same time',
    )
  }

  /** Whether the member is still there. One that has ended in any way, also by SIGKILL, is not. */
  isAlive(token: number): boolean {
    const at = memberAt(slotOf(token))
    const { words } = this
    return (
      Atomics.load(words, at + MEMBER.state) === MEMBER_STATE.alive &&
      isOfGeneration(token, Atomics.load(words, at + MEMBER.generation)) &&
      (Atomics.load(words, at + this.#backend.lifeWord) & LIFE_ENDED) === 0
    )
  }

  /** How many members have ended so far. Read it before looking at who is alive, and give it to the wait. */
  get ends(): number {
    return Atomics.load(this.words, HEADER.ends)
  }

  /** For whoever sees a process or thread end, where the system does not mark it (threads without the addon). */
  markEnded({ pid, threadId }: { pid: number; threadId: number | undefined }): void {
    const { words } = this
    for (let slot = 0; slot < Atomics.load(words, HEADER.memberLimit); slot++) {
      const at = memberAt(slot)
      const life = at + this.#backend.lifeWord
      if (Atomics.load(words, at + MEMBER.state) !== MEMBER_STATE.alive) {
        // It had taken the record, and was terminated before it was a member.
        if (!this.isNative && threadId !== undefined) {
          const taken = lifeOf(threadId)
          Atomics.compareExchange(words, life, taken, taken | LIFE_ENDED)
        }
        continue
      }
      if (words[at + MEMBER.pid] !== pid) continue
      if (threadId !== undefined && words[at + MEMBER.threadId] !== threadId) continue
      Atomics.or(words, life, LIFE_ENDED)
    }
    this.reap()
  }

  #hasEndedMember(): boolean {
    const { words } = this
    for (let slot = 0; slot < Atomics.load(words, HEADER.memberLimit); slot++) {
      const at = memberAt(slot)
      const life = Atomics.load(words, at + this.#backend.lifeWord)
      const state = Atomics.load(words, at + MEMBER.state)
      if (state === MEMBER_STATE.alive && (life & LIFE_ENDED) !== 0) return true
      if (state === MEMBER_STATE.free && life === 0) return false
    }
    return false
  }

  /**
   * Deals with the ends of members: what they held is let go, and their places are free again. False when another one is
   * doing it.
   */
  reap(): boolean {
    // One at a time: a slow second one could let go of what the next member in a place holds. Only a member can do it,
    // so that others see when the one who does it is killed. Who is none yet has nothing to wait for either.
    if (this.#token === 0 || !this.#hasEndedMember()) return true
    const { words } = this
    const before = Atomics.load(words, HEADER.reaper)
    if (before !== 0 && this.isAlive(before)) return false
    if (Atomics.compareExchange(words, HEADER.reaper, before, this.#token) !== before) return false
    try {
      for (let slot = 0; slot < Atomics.load(words, HEADER.memberLimit); slot++) {
        const at = memberAt(slot)
        const life = Atomics.load(words, at + this.#backend.lifeWord)
        if (Atomics.load(words, at + MEMBER.state) !== MEMBER_STATE.alive || (life & LIFE_ENDED) === 0)
          continue
        this.#releaseAllOf(slot)
        // First nobody is taken for alive any more, then the sleepers are told to look.
        Atomics.store(words, at + MEMBER.state, MEMBER_STATE.free)
        Atomics.add(words, HEADER.ends, 1)
      }
      trimFreeSegments(this)
    } finally {
      Atomics.store(words, HEADER.reaper, 0)
    }
    return true
  }

  #releaseAllOf(slot: number): void {
    const { words } = this
    const limit = Atomics.load(words, HEADER.blockLimit)
    const word = BLOCK.holders + (slot >>> 5)
    const bit = 1 << (slot & 31)
    let isKeeperGone = false
    for (let index = 0; index < limit; index++) {
      const at = blockAt(index)
      if ((Atomics.and(words, at + word, ~bit) & bit) === 0) continue
      isKeeperGone ||= !isHeldByOthers(this.words, at, -1)
      // What the one that ended had to itself goes back to the system.
      if (Atomics.load(words, at + BLOCK.kind) === SEGMENT_KIND) this.#discardFree(index)
    }
    if (!isKeeperGone) return
    for (let index = 0; index < limit; index++) {
      const at = blockAt(index)
      if (Atomics.load(words, at + BLOCK.keeper) !== 0 && !isKept(this.words, at)) this.#discardFree(index)
    }
  }

  /** For who let go of a keeper: the memory of the segments that it kept goes back to the system, if it was the last. */
  discardKeptBy(keeper: BlockHandle): void {
    const { words } = this
    const limit = Atomics.load(words, HEADER.blockLimit)
    for (let index = 0; index < limit; index++) {
      const at = blockAt(index)
      if (
        Atomics.load(words, at + BLOCK.keeper) === keeper.index + 1 &&
        Atomics.load(words, at + BLOCK.keeperGeneration) === keeper.generation
      )
        this.#discardFree(index)
    }
  }

  /** For who has looked at a segment of another: its memory goes back to the system if nobody has it any more. */
  discardIfFree({ index }: { index: number }): void {
    this.#discardFree(index)
  }

  #discardFree(index: number): void {
    const block = this.takeFree(index, SEGMENT_KIND)
    if (block === undefined) return
    this.pages.discard(block)
    block.release()
  }

  // ---- Blocks ----

  /** Takes a block, all zeros. */
  allocate(kind: BlockKind): HeldBlock {
    const { words } = this
    const count = words[HEADER.blockCount]!
    // What only a handle that never arrived seems to need is taken when there is nothing else.
    for (let attempt = 0; attempt < 2 * count; attempt++) {
      const index = (Atomics.add(words, HEADER.blockCursor, 1) >>> 0) % count
      const at = blockAt(index)
      if (Atomics.load(words, at + BLOCK.kind) === SEGMENT_KIND) continue
      const block = this.#take(index, { isOverdue: attempt >= count })
      if (block === undefined) continue
      raise(words, HEADER.blockLimit, index + 1)
      words.fill(0, at + BLOCK.payload, at + BLOCK_WORDS)
      Atomics.store(words, at + BLOCK.kind, kind)
      return block
    }
    throw new ProcessError(
      'ERR_LIMIT',
      `Cannot make another shared object: all ${count} are in use\n` +
        'To fix: let go of locks, queues and shared arrays that are no longer needed, or make them once and pass them on',
    )
  }

  /** Takes a block that nobody holds; it becomes another than it was before. */
  #take(index: number, { isOverdue = false } = {}): HeldBlock | undefined {
    const { words } = this
    const at = blockAt(index)
    const generation = Atomics.load(words, at + BLOCK.generation)
    if (!this.#isFree(at, -1, isOverdue)) return undefined
    const next = (generation + 1) | 0
    if (Atomics.compareExchange(words, at + BLOCK.generation, generation, next) !== generation)
      return undefined
    const slot = slotOf(this.token)
    Atomics.or(words, at + BLOCK.holders + (slot >>> 5), 1 << (slot & 31))
    // Somebody may have attached to its earlier life after it was found free. That one keeps it, and its handle.
    if (!this.#isFree(at, slot, isOverdue)) {
      Atomics.and(words, at + BLOCK.holders + (slot >>> 5), ~(1 << (slot & 31)))
      Atomics.compareExchange(words, at + BLOCK.generation, next, generation)
      return undefined
    }
    Atomics.store(words, at + BLOCK.inFlight, 0)
    Atomics.store(words, at + BLOCK.keeper, 0)
    return this.#hold(index, next)
  }

  /**
   * A block that is held here in a new life, with a new handle; `undefined` when somebody else has it, keeps it, or may
   * be about to attach to it. Handles of its earlier life are refused from then on.
   */
  renew(block: HeldBlock): HeldBlock | undefined {
    const { words } = this
    const { index } = block.handle
    const at = blockAt(index)
    const slot = slotOf(this.token)
    if (!this.isOnlyHeldHere(block)) return undefined
    const generation = Atomics.load(words, at + BLOCK.generation)
    const next = (generation + 1) | 0
    Atomics.store(words, at + BLOCK.generation, next)
    // As in #take(): who attached to its earlier life meanwhile keeps it, and its handle.
    if (!this.#isFree(at, slot, false)) {
      Atomics.store(words, at + BLOCK.generation, generation)
      return undefined
    }
    Atomics.store(words, at + BLOCK.keeper, 0)
    const renewed = this.#hold(index, next)
    block.release()
    return renewed
  }

  /**
   * Has a block count as held for as long as anybody holds `keeper`, whatever becomes of this process: what waits in a
   * queue belongs to the queue. Whoever calls it holds the block, and may let go of it afterwards.
   */
  keep(handle: BlockHandle, keeper: BlockHandle): void {
    const at = blockAt(handle.index)
    Atomics.store(this.words, at + BLOCK.keeperGeneration, keeper.generation)
    Atomics.store(this.words, at + BLOCK.keeper, keeper.index + 1)
  }

  /** Ends that, if it is still so. Whoever holds the block by other means goes on doing so. */
  unkeep(handle: BlockHandle, keeper: BlockHandle): void {
    const { words } = this
    const at = blockAt(handle.index)
    if (
      Atomics.load(words, at + BLOCK.generation) === handle.generation &&
      Atomics.load(words, at + BLOCK.keeperGeneration) === keeper.generation
    )
      Atomics.compareExchange(words, at + BLOCK.keeper, keeper.index + 1, 0)
  }

  /** Whether nobody but `ownSlot` holds a block, no other block keeps it, and no handle of it is on its way. */
  #isFree(at: number, ownSlot: number, isOverdue: boolean): boolean {
    // A sender holds the block until its handle is counted, and a receiver before it is no longer; who gives it to a
    // keeper, or takes it from one, holds it meanwhile. So who looks at the holders, the rest and the holders again sees
    // one of them (see "Blocks" in README.md, step 5).
    return (
      !isHeldByOthers(this.words, at, ownSlot) &&
      !isKept(this.words, at) &&
      (Atomics.load(this.words, at + BLOCK.inFlight) === 0 || (isOverdue && this.#isOverdue(at))) &&
      !isHeldByOthers(this.words, at, ownSlot)
    )
  }

  #isOverdue(at: number): boolean {
    return secondsOnTheWay(this.words, at) >= IN_FLIGHT_SECONDS
  }

  /**
   * Takes the block at `index`, with its contents, when it is of that kind and nobody holds it. With `isOverdue`, a
   * handle that has been on its way for too long does not count.
   */
  takeFree(index: number, kind: BlockKind, options?: { isOverdue?: boolean }): HeldBlock | undefined {
    if (Atomics.load(this.words, blockAt(index) + BLOCK.kind) !== kind) return undefined
    return this.#take(index, options)
  }

  /** Whether nobody holds the block, and no handle of it is on its way. */
  isFree({ index }: { index: number }): boolean {
    return this.#isFree(blockAt(index), -1, false)
  }

  /** The first words that belong to the user of each block of that kind that nothing but a handle on its way keeps. */
  inFlightOnly(kind: BlockKind): { index: number; base: number }[] {
    const { words } = this
    const limit = Atomics.load(words, HEADER.blockLimit)
    const found: { index: number; base: number }[] = []
    for (let index = 0; index < limit; index++) {
      const at = blockAt(index)
      if (Atomics.load(words, at + BLOCK.kind) !== kind || Atomics.load(words, at + BLOCK.inFlight) === 0)
        continue
      if (!isHeldByOthers(this.words, at, -1)) found.push({ index, base: at + BLOCK.payload })
    }
    return found
  }

  /**
   * Notes that a handle of a block that is held here is on its way: until it arrives the block is not given to
   * anybody else, even when this process lets go of it or ends.
   */
  noteSent({ index }: BlockHandle): void {
    const at = blockAt(index)
    Atomics.store(this.words, at + BLOCK.sentAt, steadySeconds())
    Atomics.add(this.words, at + BLOCK.inFlight, 1)
  }

  /** The pair of `noteSent()`, for a block that is held here by now. */
  noteArrived({ index }: BlockHandle): void {
    const { words } = this
    const at = blockAt(index) + BLOCK.inFlight
    // A message that was written once may be read more often.
    for (let count = Atomics.load(words, at); count > 0;) {
      const before = Atomics.compareExchange(words, at, count, count - 1)
      if (before === count) return
      count = before
    }
  }

  /** Takes a free block of that kind which `matches`. Looks at some only: there may be one all the same. */
  findFree(kind: BlockKind, matches: (base: number) => boolean): HeldBlock | undefined {
    const { words } = this
    const limit = Atomics.load(words, HEADER.blockLimit)
    for (let attempt = 0; attempt < Math.min(limit, SEARCHED_MAX); attempt++) {
      const index = (Atomics.add(words, HEADER.segmentCursor, 1) >>> 0) % limit
      const at = blockAt(index)
      if (Atomics.load(words, at + BLOCK.kind) !== kind || !matches(at + BLOCK.payload)) continue
      const block = this.#take(index)
      if (block !== undefined) return block
    }
    return undefined
  }

  /**
   * Holds the block that a handle names.
   *
   * @throws ClosedError when it has been taken for something else since, or belongs to another program.
   */
  attach(handle: BlockHandle, kind: BlockKind): HeldBlock {
    const { words } = this
    const { index, generation } = handle
    if (handle.heap === this.id && index >= 0 && index < words[HEADER.blockCount]!) {
      const at = blockAt(index)
      const slot = slotOf(this.token)
      Atomics.or(words, at + BLOCK.holders + (slot >>> 5), 1 << (slot & 31))
      if (
        Atomics.load(words, at + BLOCK.generation) === generation &&
        Atomics.load(words, at + BLOCK.kind) === kind
      ) {
        return this.#hold(index, generation)
      }
      if (!this.#held.has(index)) Atomics.and(words, at + BLOCK.holders + (slot >>> 5), ~(1 << (slot & 31)))
    }
    throw notKept(handle.heap === this.id)
  }

  #hold(index: number, generation: number): HeldBlock {
    this.#held.set(index, (this.#held.get(index) ?? 0) + 1)
    let isHeld = true
    return {
      handle: { heap: this.id, index, generation },
      base: blockAt(index) + BLOCK.payload,
      release: () => {
        if (!isHeld) return
        isHeld = false
        this.#letGo(index)
      },
    }
  }

  #letGo(index: number): void {
    const count = this.#held.get(index)! - 1
    if (count > 0) {
      this.#held.set(index, count)
      return
    }
    this.#held.delete(index)
    // Reaping has taken its holds away, and another may have its place.
    if (this.#hasEnded) return
    const slot = slotOf(this.token)
    Atomics.and(this.words, blockAt(index) + BLOCK.holders + (slot >>> 5), ~(1 << (slot & 31)))
  }

  /** Whether a block has no other holder than this process or thread, nor anything else that keeps it. */
  isOnlyHeldHere({ handle }: HeldBlock): boolean {
    return (
      this.#held.get(handle.index) === 1 && this.#isFree(blockAt(handle.index), slotOf(this.token), false)
    )
  }

  /** Whether the handle still means its block, and somebody has it or will have it. */
  isInUse({ index, generation }: BlockHandle): boolean {
    const at = blockAt(index)
    return Atomics.load(this.words, at + BLOCK.generation) === generation && !this.#isFree(at, -1, false)
  }

  // ---- Waiting ----

  /**
   * Blocks this thread until the word at `index` is no longer `expected`, for at most `timeoutMs`. It also returns
   * when a member has ended since `endsSeen` was read, so that the caller can look whether it waits for that one.
   */
  waitSync(index: number, expected: number, timeoutMs: number, endsSeen: number): WaitOutcome {
    const outcome = this.#backend.waitSync(index, expected, Math.max(0, timeoutMs), endsSeen)
    this.#rest.afterSync(outcome)
    return outcome
  }

  /**
   * Gives the processor away for a moment, and tells whether the word has changed then. For before `waitSync()`: who
   * does this needs not be counted among those who wait, so nobody asks the system to wake it.
   */
  yieldSync(index: number, expected: number, endsSeen: number): boolean {
    return this.#backend.yieldSync(index, expected, endsSeen)
  }

  /** The same without blocking. A wait in progress keeps the event loop alive. */
  waitAsync(index: number, expected: number, timeoutMs: number, endsSeen: number): PendingWait {
    const { outcome, cancel } = this.#backend.waitAsync(index, expected, Math.max(0, timeoutMs), endsSeen)
    const looked = async (): Promise<WaitOutcome> => {
      const result = await outcome
      await this.#rest.after(result)
      return result
    }
    return { outcome: looked(), cancel }
  }

  /** Wakes up to `count` of those who wait for the word, and gives how many. Somebody who only looks around is none. */
  wake(index: number, count = Infinity): number {
    return this.#backend.wake(index, Math.min(count, 0x7fff_ffff))
  }
}

/** Has a word be no less than `value`. */
function raise(words: Int32Array, index: number, value: number): void {
  for (;;) {
    const before = Atomics.load(words, index)
    if (before >= value || Atomics.compareExchange(words, index, before, value) === before) return
  }
}
