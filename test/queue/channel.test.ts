/** The ring behind queues and pipes: any sizes in any order, what a killed writer or reader leaves, damaged memory. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { allocateSegment, viewSegment } from '#src/platform/heap-segments.js'
import { type BlockHandle, sharedHeap } from '#src/platform/shared-heap.js'
import {
  CHANNEL,
  FRAME_MARK,
  READER,
  READER_STATE_WORDS,
  WRITER,
  WRITER_STATE_WORDS,
} from '#src/queue/channel-layout.js'
import { Channel, type ChannelOptions } from '#src/queue/channel.js'
import { doneWith } from '#src/queue/held-items.js'
import { decodeItem, encodeOutgoing } from '#src/queue/item-codec.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const heap = sharedHeap()
const seed = Number(process.env['SEED'] ?? 1)

/** Bytes whose length and content follow from one number. */
function message(length: number, number: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + number * 13) & 255)
}

function putOne(channel: Channel, bytes: Uint8Array): boolean {
  const item = channel.outgoing(bytes)
  const count = channel.put([item])
  if (count !== 1 && 'segment' in item) item.segment.release()
  return count === 1
}

function takeAll(channel: Channel, max = 1000): Uint8Array[] {
  const taken = channel.take(max)
  assert.ok(Array.isArray(taken))
  return taken
}

const kinds: Record<string, ChannelOptions> = {
  'a ring that grows': { isGrowing: true, ringBytes: 64 },
  'a ring that makes writers wait': { isGrowing: false, ringBytes: 1024 },
  'a ring with a limit of items': { isGrowing: true, ringBytes: 256, maxSize: 3 },
}

describe('any order of puts and takes', () => {
  for (const [name, options] of Object.entries(kinds)) {
    test(`${name} gives what was put, once and in order`, () => {
      const step = fc.oneof(
        fc.record({ put: fc.oneof(fc.nat(80), fc.nat(700), fc.constantFrom(5000, 300_000)) }),
        fc.record({ take: fc.integer({ min: 1, max: 5 }) }),
      )
      fc.assert(
        fc.property(fc.array(step, { maxLength: 60 }), steps => {
          const channel = Channel.create(options)
          try {
            const model: Uint8Array[] = []
            let number = 0
            for (const each of steps) {
              if ('put' in each) {
                const bytes = message(each.put, number++)
                if (putOne(channel, bytes)) model.push(bytes)
                else assert.ok(!options.isGrowing || options.maxSize === model.length)
              } else {
                const taken = takeAll(channel, each.take)
                const expected = model.splice(0, taken.length)
                assert.ok(taken.length > 0 || model.length === 0)
                for (const [index, bytes] of taken.entries())
                  assert.ok(Buffer.from(bytes).equals(expected[index]!))
              }
              assert.equal(channel.size, model.length)
            }
          } finally {
            channel.release()
          }
        }),
        { seed, numRuns: 60 },
      )
    })
  }

  for (const [name, options] of Object.entries(kinds)) {
    test(`${name} is the same for several who do not see what the others do`, () => {
      const who = fc.nat(2)
      const step = fc.oneof(
        { weight: 5, arbitrary: fc.record({ who, put: fc.oneof(fc.nat(80), fc.nat(700)) }) },
        { weight: 5, arbitrary: fc.record({ who, take: fc.integer({ min: 1, max: 5 }) }) },
        // Large enough that the ring is moved, or that what is put lies outside of it.
        { weight: 1, arbitrary: fc.record({ who, put: fc.constantFrom(5000, 200_000, 300_000) }) },
        { weight: 1, arbitrary: fc.record({ who, touch: fc.constant(true) }) },
      )
      fc.assert(
        fc.property(fc.array(step, { maxLength: 100 }), steps => {
          const first = Channel.create(options)
          const channels = [first, Channel.attach(first.handle), Channel.attach(first.handle)]
          try {
            const model: Uint8Array[] = []
            let number = 0
            for (const each of steps) {
              const channel = channels[each.who]!
              if ('put' in each) {
                const bytes = message(each.put, number++)
                if (putOne(channel, bytes)) model.push(bytes)
                else assert.ok(!options.isGrowing || options.maxSize === model.length)
              } else if ('take' in each) {
                const taken = takeAll(channel, each.take)
                const expected = model.splice(0, taken.length)
                assert.ok(taken.length > 0 || model.length === 0)
                for (const [index, bytes] of taken.entries())
                  assert.ok(Buffer.from(bytes).equals(expected[index]!))
              } else channel.touch()
            }
            assert.equal(first.size, model.length)
          } finally {
            for (const channel of channels) channel.release()
          }
        }),
        { seed, numRuns: 100 },
      )
    })
  }

  test('a reader that knew what lies in the ring finds it where another has moved it', () => {
    const channel = Channel.create({ isGrowing: true, ringBytes: 1024 })
    const reader = Channel.attach(channel.handle)
    const sent = [10, 20, 30].map((length, number) => message(length, number))
    channel.put(sent)
    assert.deepEqual(takeAll(reader, 1), sent.slice(0, 1))
    const large = message(5000, 3)
    assert.ok(putOne(channel, large))
    // The memory of the old ring is somebody else's now.
    const others = heap.isNative ? Array.from({ length: 4 }, () => allocateSegment(1024)) : []
    for (const { buffer } of others) new Uint8Array(buffer).fill(0xff)
    assert.deepEqual(takeAll(reader), [...sent.slice(1), large])
    for (const other of others) other.release()
    reader.release()
    channel.release()
  })

  test('positions and counts may wrap around', () => {
    const channel = Channel.create({ isGrowing: false, ringBytes: 1024 })
    const { words } = heap
    const writer =
      channel.base + CHANNEL.writerStates + WRITER_STATE_WORDS * (words[channel.base + CHANNEL.commits]! & 1)
    const reader =
      channel.base + CHANNEL.readerStates + READER_STATE_WORDS * (words[channel.base + CHANNEL.takes]! & 1)
    words[writer + WRITER.head] = words[reader + READER.tail] = -48
    words[writer + WRITER.puts] = words[reader + READER.gets] = 2 ** 31 - 2
    for (let number = 0; number < 100; number++) {
      assert.ok(putOne(channel, message(number * 4, number)))
      assert.equal(channel.size, 1)
      assert.deepEqual(takeAll(channel), [message(number * 4, number)])
    }
    channel.release()
  })

  test('a ring that became large is small again once it is empty', { skip: !heap.isNative }, () => {
    const channel = Channel.create({ isGrowing: true, ringBytes: 1024 })
    const capacity = (): number =>
      heap.words[
        channel.base +
          CHANNEL.writerStates +
          8 * (heap.words[channel.base + CHANNEL.commits]! & 1) +
          WRITER.capacity
      ]!
    for (let number = 0; number < 40; number++) putOne(channel, message(100_000, number))
    assert.ok(capacity() >= 4_000_000)
    for (let number = 0; number < 40; number++) takeAll(channel, 1)
    putOne(channel, message(10, 1))
    assert.equal(capacity(), 64 * 1024)
    assert.deepEqual(takeAll(channel), [message(10, 1)])
    channel.release()
  })
})

describe('who was killed in the middle of an operation', () => {
  /** A token that no living member has. */
  const dead = (1 << 20) | 511

  test('a lock whose holder ended is taken over, and what was not committed did not happen', () => {
    const channel = Channel.create({ isGrowing: true, ringBytes: 1024 })
    putOne(channel, message(10, 1))
    for (const lock of [CHANNEL.writerLock, CHANNEL.readerLock]) heap.words[channel.base + lock] = dead
    // Half of a state, as by one who was killed while writing it.
    const other =
      channel.base +
      CHANNEL.writerStates +
      WRITER_STATE_WORDS * (~heap.words[channel.base + CHANNEL.commits]! & 1)
    heap.words.fill(-1, other, other + 4)
    putOne(channel, message(10, 2))
    assert.deepEqual(takeAll(channel), [message(10, 1), message(10, 2)])
    channel.release()
  })

  test('segments that a killed writer was moving in or out are given back', { skip: !heap.isNative }, () => {
    const channel = Channel.create({ isGrowing: true, ringBytes: 1024 })
    const limbo = channel.base + CHANNEL.limbo
    const segment = allocateSegment(11 * 4096)
    const handle = segment.handle as BlockHandle
    heap.keep(handle, channel.handle.block)
    segment.release()
    heap.words[limbo] = handle.index + 1
    heap.words[limbo + 1] = handle.generation
    heap.words[channel.base + CHANNEL.writerLock] = dead
    assert.equal(heap.takeFree(handle.index, 1), undefined)
    putOne(channel, message(10, 2))
    const free = heap.takeFree(handle.index, 1)
    assert.ok(free !== undefined)
    free.release()
    channel.release()
  })

  test('a segment that a killed reader had taken is given back', { skip: !heap.isNative }, () => {
    const channel = Channel.create({ isGrowing: true, ringBytes: 1024 })
    putOne(channel, message(300_000, 1))
    const state =
      channel.base +
      CHANNEL.writerStates +
      WRITER_STATE_WORDS * (heap.words[channel.base + CHANNEL.commits]! & 1)
    const handle = {
      heap: heap.id,
      index: heap.words[state + WRITER.lastIndex]! - 1,
      generation: heap.words[state + WRITER.lastGeneration]!,
    }
    const taken = takeAll(channel)
    assert.equal(taken.length, 1)
    assert.equal(heap.takeFree(handle.index, 1), undefined, 'it is held until it has been read')
    taken.forEach(doneWith)
    // As if it had been killed right after its commit.
    const held = heap.takeFree(handle.index, 1)!
    const again = { ...handle, generation: held.handle.generation }
    const reader =
      channel.base +
      CHANNEL.readerStates +
      READER_STATE_WORDS * (heap.words[channel.base + CHANNEL.takes]! & 1)
    heap.words[reader + READER.lastGeneration] = again.generation
    heap.keep(again, channel.handle.block)
    held.release()
    assert.equal(heap.takeFree(handle.index, 1), undefined)
    heap.words[channel.base + CHANNEL.readerLock] = dead
    assert.deepEqual(takeAll(channel), [])
    const free = heap.takeFree(handle.index, 1)
    assert.ok(free !== undefined)
    free.release()
    channel.release()
  })

  test('a large item is written where its reader reads it', { skip: !heap.isNative }, () => {
    const channel = Channel.create({ isGrowing: true, ringBytes: 1024 })
    const value = { name: 'large', bytes: message(700_000, 3) }
    const encoded = encodeOutgoing(value, 'item')
    const item = channel.outgoing(encoded)
    assert.ok('segment' in item && item.segment.buffer === encoded.buffer)
    assert.equal(channel.put([item]), 1)
    const [bytes] = takeAll(channel)
    assert.deepEqual(decodeItem(bytes!), value)
    channel.release()
  })

  test('a large function is sent again as it was', { skip: !heap.isNative }, async () => {
    const channel = Channel.create({ isGrowing: true, ringBytes: 1024 })
    // oxlint-disable-next-line typescript/no-implied-eval
    const large = new Function(`return ${JSON.stringify('x'.repeat(400_000))}.length`) as () => number
    for (let round = 0; round < 3; round++) {
      const other = channel.outgoing(encodeOutgoing(message(500_000, round), 'item'))
      const item = channel.outgoing(encodeOutgoing(large, 'item'))
      assert.equal(channel.put([item, other]), 2)
      const [bytes] = takeAll(channel)
      assert.equal(((await decodeItem(bytes!)) as () => number)(), 400_000)
      takeAll(channel).forEach(doneWith)
    }
    channel.release()
  })

  test(
    'an item that fails half-way leaves the memory that it was written to',
    { skip: !heap.isNative },
    () => {
      const channel = Channel.create({ isGrowing: true, ringBytes: 1024 })
      const bytes = message(700_000, 4)
      assert.throws(() => encodeOutgoing([bytes, new Proxy({}, {})], 'item'), { name: 'SerializeError' })
      // In the same place, since nobody has it.
      const item = channel.outgoing(encodeOutgoing([bytes], 'item'))
      assert.ok('segment' in item)
      const { buffer } = item.segment
      item.segment.release()
      assert.throws(() => encodeOutgoing([bytes, new Proxy({}, {})], 'item'), { name: 'SerializeError' })
      const again = channel.outgoing(encodeOutgoing([bytes], 'item'))
      assert.ok('segment' in again && again.segment.buffer === buffer)
      again.segment.release()
      channel.release()
    },
  )

  test('who is alive and has stopped with a lock makes others say that it is busy', () => {
    const channel = Channel.create({ isGrowing: true, ringBytes: 1024 })
    for (const lock of [CHANNEL.writerLock, CHANNEL.readerLock]) heap.words[channel.base + lock] = heap.token
    assert.equal(channel.put([message(1, 1)]), 'busy')
    assert.equal(channel.take(1), 'busy')
    channel.release()
  })
})

describe('damaged memory', () => {
  test('random words in the states and in the ring are ERR_PROTOCOL or other messages, never a crash', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(15), fc.oneof(fc.integer(), fc.nat(64))), { maxLength: 6 }),
        fc.array(fc.tuple(fc.nat(60), fc.integer()), { maxLength: 6 }),
        (states, frames) => {
          const channel = Channel.create({ isGrowing: false, ringBytes: 256 })
          for (let number = 0; number < 5; number++) putOne(channel, message(20, number))
          const { words } = heap
          const writer =
            channel.base +
            CHANNEL.writerStates +
            WRITER_STATE_WORDS * (words[channel.base + CHANNEL.commits]! & 1)
          const before = Array.from(words.subarray(channel.base, channel.base + 44))
          const place = { index: words[writer + WRITER.ringIndex]!, generation: words[writer + 3]! }
          for (const [at, value] of frames) {
            ringWords(channel, place)[at] = value
          }
          for (const [at, value] of states) words[channel.base + CHANNEL.writerStates + at] = value
          for (let attempt = 0; attempt < 4; attempt++) {
            for (const act of [() => channel.take(3), () => channel.put([message(9, 9)])]) {
              try {
                act()
              } catch (error) {
                assert.equal((error as { code: string }).code, 'ERR_PROTOCOL')
              }
            }
          }
          words.set(before, channel.base)
          channel.release()
        },
      ),
      { seed, numRuns: 200 },
    )
  })

  test('messages before a damaged one are still given', () => {
    const channel = Channel.create({ isGrowing: false, ringBytes: 256 })
    const { words } = heap
    for (let number = 0; number < 3; number++) putOne(channel, message(8, number))
    const writer =
      channel.base + CHANNEL.writerStates + WRITER_STATE_WORDS * (words[channel.base + CHANNEL.commits]! & 1)
    const ring = ringWords(channel, { index: words[writer + 2]!, generation: words[writer + 3]! })
    assert.equal(ring[4]! ^ ring[5]!, FRAME_MARK.inside)
    ring[5] = 0
    assert.deepEqual(takeAll(channel), [message(8, 0)])
    assert.throws(() => channel.take(1), { code: 'ERR_PROTOCOL' })
    assert.ok(putOne(channel, message(1, 1)))
    channel.release()
  })
})

function ringWords(channel: Channel, place: { index: number; generation: number }): Int32Array {
  const { memory } = channel.handle
  return new Int32Array(memory ?? viewSegment({ heap: heap.id, ...place }), 0, 64)
}
