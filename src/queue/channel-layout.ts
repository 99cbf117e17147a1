/**
 * Where things are in the control block of a channel (the ring behind a queue, or behind one direction of a pipe), and
 * what a frame in the ring looks like. The protocol is written down in README.md.
 */

/** The kind of block that controls a channel. */
export const CHANNEL_KIND = 32

/**
 * Words of the block's payload. Cache lines (64 bytes) begin at the words 10, 26 and 42. For each message writers change
 * the first and the second, readers the third. `commits` alone lies in a line that both come back to: a reader that looks
 * for the next message reads it again and again, and whatever writers have in the same line would have to be fetched back
 * each time.
 */
export const CHANNEL = {
  /** Most items at a time; 0 for no limit. */
  maxSize: 0,
  /** 1 when the ring grows instead of making writers wait. */
  isGrowing: 1,
  /** 1 once nobody may put any more. */
  isShutDown: 2,
  /** How many wait for `commits`, for `done` and for `takes`. One that was killed stays counted: a needless wake. */
  readersWaiting: 3,
  doneWaiting: 4,
  writersWaiting: 38,
  /** Items that `taskDone()` was called for. */
  done: 5,
  /** Token of who writes; see `owner-lock.ts`. */
  writerLock: 6,
  /** Two states of {@link WRITER}. */
  writerStates: 10,
  /** Counts the commits of writers: its last bit tells which of their two states counts. Readers wait for it. */
  commits: 42,
  /** As those of the writers: token of who reads, and the commits of readers, for which writers wait. */
  readerLock: 26,
  takes: 27,
  /** Two states of {@link READER}. */
  readerStates: 28,
  /** Two segments that a writer is moving in or out: index + 1 and generation each. */
  limbo: 43,
} as const

/** What a writer commits. Positions and counts are unsigned and wrap. */
export const WRITER = {
  head: 0,
  puts: 1,
  /** The segment of the ring. Without the addon the ring is in memory of its own. */
  ringIndex: 2,
  ringGeneration: 3,
  capacity: 4,
  /** The segment of the last item that has one. */
  lastIndex: 5,
  lastGeneration: 6,
  /** KiB in segments of their own that were ever put. */
  outsideKiB: 7,
} as const
export const WRITER_STATE_WORDS = 8

/** What a reader commits. */
export const READER = {
  tail: 0,
  gets: 1,
  /** The segment of the last item that has one. */
  lastIndex: 2,
  lastGeneration: 3,
  outsideKiB: 4,
} as const
export const READER_STATE_WORDS = 5

/** A frame: its length, the same exclusive-or a mark, the bytes, and up to 7 unused ones. */
export const FRAME_HEADER_BYTES = 8
export const FRAME_MARK = { inside: 0x5246_504d, outside: 0x5153_4547 } as const
/** What an item in a segment of its own leaves in the ring: index, generation and length of the segment. */
export const OUTSIDE_BYTES = 16

export const RING_BYTES_MAX = 2 ** 30

/** A growing ring takes what is smaller inside. */
export const GROWING_INSIDE_MAX = 256 * 1024

export function frameBytes(byteLength: number): number {
  return FRAME_HEADER_BYTES + ((byteLength + 7) & ~7)
}
