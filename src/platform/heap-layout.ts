/**
 * Where things are in the control part of the shared heap. Both sides of every start have it from here, and the
 * addon is told it when the heap is opened. All numbers count 32-bit words unless their name says bytes.
 */

/** At the start of the control part. */
export const HEADER = {
  /** {@link MAGIC} once the heap is complete. */
  magic: 0,
  /** Tells heaps apart: two words at random. */
  idLow: 1,
  idHigh: 2,
  blockCount: 3,
  /** Where the next search for a free block begins. */
  blockCursor: 4,
  /** Blocks from here on were never used. */
  blockLimit: 5,
  /** The member that deals with the ends of others, as a token; 0 when nobody does. */
  reaper: 6,
  /** Counts the ends of members that have been dealt with. */
  ends: 7,
  /** First page that no segment has had, counted from {@link PAGES_START_BYTES}. */
  pageLimit: 8,
  /** Where the next search for a free segment begins. */
  segmentCursor: 9,
  /** 1 once a process of this program has made memory with a name. */
  hasNames: 10,
  /** Places of members from here on were never taken. */
  memberLimit: 11,
  /** 1 once the main thread has started the broker of its process. */
  isBrokerStarted: 12,
  /** The broker as a member, once it serves; and how long its address is. */
  brokerToken: 13,
  brokerAddressBytes: 14,
} as const

/** In the header: where the broker of a process listens, as JSON. */
export const BROKER_ADDRESS_START_BYTES = 1024
export const BROKER_ADDRESS_BYTES_MAX = 2048

/** Free segments keep their memory up to this for each process or thread that let them go. */
export const WARM_BYTES_MAX = 64 << 20

/** "MPH" and the version of this layout. */
export const MAGIC = 0x4d504802

/** A bit in each block for each of them: 512 bytes, of which only those are looked at whose places were ever taken. */
export const MEMBERS_MAX = 4096
/** A token has the place of its member in its last bits, and the generation of that place in front of them. */
const PLACE_BITS = Math.log2(MEMBERS_MAX)
/** Tokens are below 2^29, so that words of locks and others have bits left. native/heap.c counts likewise. */
const GENERATION_MASK = 2 ** (29 - PLACE_BITS) - 1
export const MEMBERS_START_BYTES = 4096
export const MEMBER_BYTES = 64
/** In the record of a member. The first words hold its life word and the kernel's list: see native/README.md. */
export const MEMBER = {
  state: 10,
  generation: 11,
  pid: 12,
  threadId: 13,
  /** The system's number of the thread, where the system does not mark its end and has such numbers; else 0. */
  systemThread: 14,
} as const

/** `enum member_state` in native/heap.c has the first two. */
export const MEMBER_STATE = { free: 0, alive: 1 } as const
/** Set in a life word by the kernel (FUTEX_OWNER_DIED), or by {@link SharedHeap.markEnded}. */
export const LIFE_ENDED = 0x4000_0000

export const BLOCKS_START_BYTES = MEMBERS_START_BYTES + MEMBERS_MAX * MEMBER_BYTES
/** 134 words of our own, and 58 for the user of the block: 12 cache lines. */
export const BLOCK_BYTES = 768
export const BLOCK_WORDS = BLOCK_BYTES / 4
/** In a block. What its user may have starts at `payload`. */
export const BLOCK = {
  /** Counts how often the block was taken. */
  generation: 0,
  kind: 1,
  /** How many handles of it are on their way, as far as that is known. */
  inFlight: 2,
  /** When the last of them was sent, in seconds of the system's steady clock. */
  sentAt: 3,
  /** One bit for each member that holds the block. */
  holders: 4,
  /** Another block that keeps this one: its index + 1, or 0, and its generation. */
  keeper: 4 + MEMBERS_MAX / 32,
  keeperGeneration: 5 + MEMBERS_MAX / 32,
  payload: 6 + MEMBERS_MAX / 32,
} as const
/** A handle that has been on its way for so long no longer keeps a block that is needed. */
export const IN_FLIGHT_SECONDS = 60
export const PAYLOAD_WORDS = BLOCK_WORDS - BLOCK.payload

/** The kind of blocks that describe segments. They are never taken for anything else: their place is theirs for ever. */
export const SEGMENT_KIND = 1
/** In the payload of such a block. */
export const SEGMENT = {
  /** 2 to the power of this many pages belong to it. */
  size: 0,
  firstPage: 1,
  /** So many of them the system has provided, from the first on. */
  providedPages: 2,
  /** 1 once somebody may have written to it. */
  isUsed: 3,
} as const

/** With the addon, where the memory costs nothing before it is used. */
export const BLOCKS_NATIVE = 32_768
/** Without it, in a SharedArrayBuffer for the threads of one process. */
export const BLOCKS_PORTABLE = 4096

export const PAGE_BYTES = 4096
export function controlBytes(blockCount: number): number {
  return BLOCKS_START_BYTES + blockCount * BLOCK_BYTES
}
/** Behind the control part, from a multiple of a large page on. */
export const PAGES_START_BYTES = 32 * 1024 * 1024
/** Addresses, not memory: a page takes storage only when it is used. */
export const HEAP_BYTES_MAX = 2 ** 40

/** The place of a member's record, in words. */
export function memberAt(slot: number): number {
  return (MEMBERS_START_BYTES + slot * MEMBER_BYTES) / 4
}

/** The token of a member in its `generation`th life, which counts from 1. */
export function tokenOf(generation: number, slot: number): number {
  return ((generation & GENERATION_MASK) << PLACE_BITS) | slot
}

export function slotOf(token: number): number {
  return token & (MEMBERS_MAX - 1)
}

/** Whether a token belongs to the `generation`th life in its place. */
export function isOfGeneration(token: number, generation: number): boolean {
  return token >>> PLACE_BITS === (generation & GENERATION_MASK)
}

/** The place of a block, in words. */
export function blockAt(index: number): number {
  return (BLOCKS_START_BYTES + index * BLOCK_BYTES) / 4
}

/** What the addon has to know, in the order of `struct layout` in native/heap.h. */
export function addonLayout(): Uint32Array {
  return Uint32Array.of(
    controlBytes(BLOCKS_NATIVE),
    HEADER.ends * 4,
    MEMBERS_START_BYTES,
    MEMBERS_MAX,
    MEMBER_BYTES,
    MEMBER.state * 4,
    MEMBER.generation * 4,
  )
}
