/**
 * A member that is killed after each single step of an operation. From the chosen step on every atomic write fails,
 * that of the unlocking too, as if the thread were gone; then the locks that are left get the token of a dead member.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BLOCK, BLOCK_WORDS, BLOCKS_START_BYTES, HEADER } from '#src/platform/heap-layout.js'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { CHANNEL } from '#src/queue/channel-layout.js'
import { Channel, type ChannelOptions, type OutgoingItem } from '#src/queue/channel.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const heap = sharedHeap()
/** A token that no living member has. */
const DEAD = (1 << 20) | 511
const WRITES = ['store', 'add', 'sub', 'and', 'or', 'exchange', 'compareExchange'] as const
class Killed extends Error {}

/** Runs `act` until its atomic write number `step`, and none of it afterwards. False when it needed fewer. */
function killAt(step: number, act: () => unknown): boolean {
  const atomics = Atomics as unknown as Record<string, (...parameters: unknown[]) => unknown>
  const originals = WRITES.map(name => [name, atomics[name]!] as const)
  let left = step
  for (const [name, original] of originals) {
    atomics[name] = (...parameters) => {
      if (left-- <= 0) throw new Killed()
      return original(...parameters)
    }
  }
  try {
    act()
    return false
  } catch (error) {
    if (error instanceof Killed) return true
    throw error
  } finally {
    for (const [name, original] of originals) atomics[name] = original
  }
}

/** How many segments the channel's block keeps. */
function keptBy(channel: Channel): number {
  const { index, generation } = channel.handle.block
  let count = 0
  for (let other = 0; other < heap.words[HEADER.blockLimit]!; other++) {
    const at = BLOCKS_START_BYTES / 4 + other * BLOCK_WORDS
    if (heap.words[at + BLOCK.keeper] === index + 1 && heap.words[at + BLOCK.keeperGeneration] === generation)
      count++
  }
  return count
}

const sizes = { small: 20, large: 300_000 }
const before = [sizes.small, sizes.large, sizes.small]

function prepared(options: ChannelOptions): Channel {
  const channel = Channel.create(options)
  for (const [index, size] of before.entries())
    channel.put([channel.outgoing(new Uint8Array(size).fill(index))])
  return channel
}

/** What is in the channel, as length and first byte; it is empty afterwards. */
function contents(channel: Channel): [number, number][] {
  const found: [number, number][] = []
  for (;;) {
    const taken = channel.take(2)
    assert.ok(Array.isArray(taken))
    if (taken.length === 0) return found
    for (const bytes of taken) {
      assert.ok(bytes.every(byte => byte === bytes[0]))
      found.push([bytes.length, bytes[0]!])
    }
  }
}

const expected = before.map((size, index): [number, number] => [size, index])
const operations: Record<
  string,
  { items: number[]; act: (channel: Channel, items: OutgoingItem[]) => void }
> = {
  'a small put': { items: [sizes.small], act: (channel, items) => void channel.put(items) },
  'a put of several': {
    items: [sizes.small, sizes.small, sizes.small],
    act: (channel, items) => void channel.put(items),
  },
  'a put for which the ring grows': {
    items: [sizes.small, 3000, sizes.small],
    act: (channel, items) => void channel.put(items),
  },
  'a put outside the ring': { items: [sizes.large], act: (channel, items) => void channel.put(items) },
  'a small take': { items: [], act: channel => void channel.take(1) },
  'a take of several, one of them outside': { items: [], act: channel => void channel.take(3) },
}

for (const [name, { items: sizesOfItems, act }] of Object.entries(operations)) {
  test(`whoever is killed in any step of ${name} leaves it done or not done, and blocks nobody`, () => {
    let step = 0
    let wasKilled = true
    for (; wasKilled; step++) {
      const channel = prepared({ isGrowing: true, ringBytes: 256 })
      const items = sizesOfItems.map((size, index) =>
        channel.outgoing(new Uint8Array(size).fill(100 + index)),
      )
      wasKilled = killAt(step, () => act(channel, items))
      for (const lock of [CHANNEL.writerLock, CHANNEL.readerLock]) {
        if (heap.words[channel.base + lock] !== 0) heap.words[channel.base + lock] = DEAD
      }
      assert.equal(channel.put([new Uint8Array([200])]), 1)
      const waiting = channel.size
      const found = contents(channel)
      assert.equal(found.length, waiting)
      assert.deepEqual(found.pop(), [1, 200])
      const put = sizesOfItems.map((size, index): [number, number] => [size, 100 + index])
      if (put.length > 0) {
        // What was put is there from the first on; a batch may have been cut where it was committed.
        const done = found.length - expected.length
        assert.ok(done >= 0)
        assert.deepEqual(found, [...expected, ...put.slice(0, done)])
      } else assert.deepEqual(found, expected.slice(expected.length - found.length))
      assert.equal(channel.size, 0)
      if (heap.isNative) assert.equal(keptBy(channel), 1, `step ${step}: only the ring is kept`)
      channel.release()
    }
    assert.ok(step > 3, `${name} has ${step} steps`)
  })
}
