/**
 * Finds the ArrayBuffers that several values of one message show, so that they still share memory on the other side.
 * A view on a large buffer normally travels alone: a slice of a gigabyte must not cost a gigabyte.
 */

interface Viewed {
  whole: boolean
  isOnlyBuffers: boolean
  totalBytes: number
  /** Start and end of each view, sorted by start and free of overlaps. */
  ranges: [start: number, end: number][]
  overlaps: boolean
}

/** Small buffers that several views show are always sent whole. */
const SMALL_BUFFER_BYTES = 4096
/** Bigger ones are, if that sends no more than so many times the bytes in view. */
const WASTE_FACTOR_MAX = 4
/** Beyond this many views of one buffer, overlaps are no longer looked for. */
const RANGES_MAX = 10_000

export class ViewedMemory {
  private readonly viewed = new Map<ArrayBufferLike, Viewed>()

  addWhole(buffer: ArrayBufferLike): void {
    this.of(buffer).whole = true
  }

  addView(view: ArrayBufferView, isBuffer: boolean): void {
    const viewed = this.of(view.buffer)
    viewed.totalBytes += view.byteLength
    if (!isBuffer) viewed.isOnlyBuffers = false
    this.addRange(viewed, view.byteOffset, view.byteOffset + view.byteLength)
  }

  private of(buffer: ArrayBufferLike): Viewed {
    let viewed = this.viewed.get(buffer)
    if (viewed === undefined) {
      viewed = { whole: false, isOnlyBuffers: true, totalBytes: 0, ranges: [], overlaps: false }
      this.viewed.set(buffer, viewed)
    }
    return viewed
  }

  private addRange(viewed: Viewed, start: number, end: number): void {
    const { ranges } = viewed
    if (viewed.overlaps || ranges.length >= RANGES_MAX) return
    let low = 0
    let high = ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (ranges[middle]![0] < start) low = middle + 1
      else high = middle
    }
    const before = ranges[low - 1]
    const after = ranges[low]
    if ((before !== undefined && before[1] > start) || (after !== undefined && after[0] < end))
      viewed.overlaps = true
    ranges.splice(low, 0, [start, end])
  }

  /** The buffers that must travel as values of their own; `undefined` when there are none. */
  sharedBuffers(): Set<object> | undefined {
    let shared: Set<object> | undefined
    for (const [buffer, viewed] of this.viewed) {
      if (viewed.ranges.length === 0 || (viewed.ranges.length === 1 && !viewed.whole)) continue
      const isCheap =
        !viewed.isOnlyBuffers &&
        buffer.byteLength <= Math.max(SMALL_BUFFER_BYTES, WASTE_FACTOR_MAX * viewed.totalBytes)
      if (viewed.whole || viewed.overlaps || isCheap) (shared ??= new Set()).add(buffer)
    }
    return shared
  }
}
