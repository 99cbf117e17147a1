/** Segments: shared by whoever holds them, used again when nobody does, and given back when their holder is killed. */
import assert from 'node:assert/strict'
import { fstatSync } from 'node:fs'
import { describe, test } from 'node:test'
import {
  BLOCK,
  BLOCKS_START_BYTES,
  BLOCK_BYTES,
  IN_FLIGHT_SECONDS,
  SEGMENT,
  SEGMENT_KIND,
} from '#src/platform/heap-layout.js'
import { allocateSegment, attachSegment, viewSegment } from '#src/platform/heap-segments.js'
import { type BlockHandle, sharedHeap } from '#src/platform/shared-heap.js'
import type { StartMethod } from '#src/process/child-boot.js'
import { popen } from '#src/process/popen.js'
import { newChildBoot } from '#src/process/process-state.js'
import { encode } from '#src/serialize/codec.js'
import { AttachmentList } from '#src/transport/attachments.js'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

const heap = sharedHeap()
const methods: StartMethod[] = heap.isNative ? ['spawn', 'thread'] : ['thread']
const MIB = 1 << 20
/** Elsewhere it stays with the program, and mappings with their buffers; see native-addon.test.ts. */
const onlyLinux = process.platform === 'linux' ? {} : { skip: 'only Linux takes memory back' }

/** The memory that the heap takes up now. */
function usedBytes(): number {
  return fstatSync(heap.fd!).blocks * 512
}

async function startChild(
  method: StartMethod,
): Promise<{ ask(order: unknown): Promise<void>; end(): Promise<void> }> {
  const child = popen(method, {
    entry: new URL('../fixtures/heap-segment-main.js', import.meta.url),
    boot: newChildBoot({ name: 'holder', identity: [1], isDaemon: true, startMethod: method }),
  })
  const ended = new Promise<void>(resolve => {
    child.onExit = () => resolve()
  })
  const answer = (): Promise<void> =>
    new Promise(resolve => {
      child.connection.onMessage = () => resolve()
    })
  await answer()
  return {
    ask: order => {
      const { attach, items } = new AttachmentList()
      child.connection.send(encode(order, { attach }), items)
      return answer()
    },
    end: () => {
      child.kill('SIGKILL')
      return ended
    },
  }
}

for (const method of methods) {
  describe(method, () => {
    test('a segment is the same memory in a child that was already running', async () => {
      const child = await startChild(method)
      const segment = allocateSegment(1000, { isZero: true })
      const numbers = new Int32Array(segment.buffer)
      numbers[0] = 41
      await child.ask({ handle: segment.handle })
      assert.equal(numbers[0], 42)
      segment.release()
      await child.end()
    })

    test('a segment that a child holds is not given to anybody else', { skip: !heap.isNative }, async () => {
      const child = await startChild(method)
      const segment = allocateSegment(3 * 4096, { isZero: true })
      await child.ask({ handle: segment.handle })
      const { handle } = segment
      segment.release()
      const others = Array.from({ length: 20 }, () => allocateSegment(3 * 4096))
      for (const other of others) assert.notDeepEqual(other.handle, handle)
      const again = attachSegment(handle)
      assert.equal(new Int32Array(again.buffer)[0], 1)
      for (const held of [again, ...others]) held.release()
      await child.end()
    })
  })
}

describe('with the addon', { skip: !heap.isNative }, () => {
  test('the place of a segment is used again, zeroed when that is asked for', () => {
    const first = allocateSegment(MIB)
    new Uint8Array(first.buffer, 0, MIB).fill(7)
    first.release()
    const again = allocateSegment(MIB)
    assert.equal(again.buffer, first.buffer)
    assert.equal(new Uint8Array(again.buffer)[0], 7)
    again.release()
    const zeros = allocateSegment(MIB, { isZero: true })
    assert.ok(new Uint8Array(zeros.buffer, 0, MIB).every(byte => byte === 0))
    zeros.release()
  })

  test('memory that goes from one to another and back again is not given back between', onlyLinux, () => {
    const first = allocateSegment(MIB)
    const { index } = first.handle as BlockHandle
    first.release()
    for (let round = 0; round < 100; round++) {
      // Another process takes it, fills it, and sends it here.
      const block = heap.takeFree(index, SEGMENT_KIND)!
      const received = attachSegment(block.handle)
      block.release()
      assert.ok(heap.words[block.base + SEGMENT.providedPages]! > 0, `it was given back in round ${round}`)
      received.release()
    }
  })

  test('memory of free segments beyond 64 MiB goes back to the system', onlyLinux, () => {
    const before = usedBytes()
    const held = Array.from({ length: 10 }, () => allocateSegment(16 * MIB))
    assert.ok(usedBytes() >= before + 160 * MIB)
    for (const segment of held) segment.release()
    assert.ok(usedBytes() <= before + 64 * MIB)
  })

  test('what a killed child had to itself goes back to the system', onlyLinux, async () => {
    const child = await startChild('spawn')
    const before = usedBytes()
    await child.ask({ take: 100 * MIB })
    assert.ok(usedBytes() >= before + 100 * MIB)
    await child.end()
    assert.ok(heap.token > 0)
    await eventually(() => {
      heap.reap()
      return usedBytes() <= before
    })
  })

  test('of what killed children had let go of, 64 MiB are kept in all', onlyLinux, async () => {
    const before = usedBytes()
    // Each of another size, so that none uses what another has left.
    for (const size of [40, 24, 12, 6]) {
      const child = await startChild('spawn')
      await child.ask({ letGo: size * MIB })
      await child.end()
    }
    assert.ok(heap.token > 0)
    await eventually(() => {
      heap.reap()
      return usedBytes() <= Math.max(before, 64 * MIB) + 8 * MIB
    })
  })

  test('a segment that a block keeps stays until nobody holds that block', () => {
    const keeper = heap.allocate(99)
    const segment = allocateSegment(5 * 4096)
    const handle = segment.handle as BlockHandle
    new Uint8Array(segment.buffer)[0] = 5
    heap.keep(handle, keeper.handle)
    segment.release()
    const others = Array.from({ length: 300 }, () => allocateSegment(5 * 4096))
    assert.equal(new Uint8Array(viewSegment(handle))[0], 5)
    for (const other of others) {
      assert.notEqual((other.handle as BlockHandle).index, handle.index)
      other.release()
    }
    keeper.release()
    assert.ok(heap.takeFree(handle.index, SEGMENT_KIND) !== undefined)
  })

  test('what a killed child kept goes back to the system', onlyLinux, async () => {
    const child = await startChild('spawn')
    const before = usedBytes()
    await child.ask({ keep: 100 * MIB })
    assert.ok(usedBytes() >= before + 100 * MIB)
    await child.end()
    await eventually(() => {
      heap.reap()
      // The keeper itself may have been the first block in its page.
      return usedBytes() < before + MIB
    })
  })

  test(
    'views that are left after release() read zeros when the mapping is taken away',
    { skip: process.platform === 'win32' },
    () => {
      const segment = allocateSegment(4096, { isUnmapped: true })
      const view = new Uint8Array(segment.buffer)
      view.fill(9)
      const other = attachSegment(segment.handle)
      segment.release()
      assert.equal(view[0], 0)
      assert.equal(new Uint8Array(other.buffer)[0], 9)
      other.release()
    },
  )

  test('a segment whose handle is on its way is given to nobody, also when its sender has let go of it', () => {
    const segment = allocateSegment(5 * 4096)
    const handle = segment.handle as BlockHandle
    new Uint8Array(segment.buffer).fill(5)
    heap.noteSent(handle)
    segment.release()
    const others = Array.from({ length: 20 }, () => allocateSegment(5 * 4096))
    for (const other of others) assert.notEqual((other.handle as BlockHandle).index, handle.index)
    const arrived = attachSegment(handle)
    heap.noteArrived(handle)
    assert.equal(new Uint8Array(arrived.buffer)[5 * 4096 - 1], 5)
    for (const held of [arrived, ...others]) held.release()
    assert.ok(heap.isFree(handle))
  })

  test(
    'memory whose handle never arrives is given back once much of it is overdue, and the handle is refused',
    onlyLinux,
    async () => {
      const lost = Array.from({ length: 3 }, () => {
        const segment = allocateSegment(100 * MIB)
        heap.noteSent(segment.handle as BlockHandle)
        segment.release()
        return segment.handle as BlockHandle
      })
      const before = usedBytes()
      allocateSegment(200 * MIB).release()
      assert.ok(usedBytes() >= before, 'nothing is overdue')
      for (const { index } of lost) {
        heap.words[(BLOCKS_START_BYTES + index * BLOCK_BYTES) / 4 + BLOCK.sentAt]! -= 2 * IN_FLIGHT_SECONDS
      }
      // Sleep: segments are looked through once in a second, and this test has just had it done.
      await new Promise(resolve => setTimeout(resolve, 1000))
      allocateSegment(400 * MIB).release()
      assert.ok(usedBytes() <= before - 290 * MIB)
      for (const handle of lost) assert.throws(() => attachSegment(handle), { code: 'ERR_CLOSED' })
    },
  )

  test('a mapping of exactly some bytes belongs to its buffer, and can be collected while the segment is held', async () => {
    const segments = [100, 4097].map(exactBytes => allocateSegment(exactBytes, { exactBytes }))
    assert.deepEqual(
      segments.map(({ buffer }) => buffer.byteLength),
      [100, 4097],
    )
    const again = attachSegment(segments[0]!.handle, { exactBytes: 50 })
    assert.notEqual(again.buffer, segments[0]!.buffer)
    assert.throws(() => attachSegment(segments[0]!.handle, { exactBytes: 5000 }), { code: 'ERR_PROTOCOL' })
    for (const segment of [again, ...segments]) assert.equal(segment.letGo(), true)
    for (const segment of [again, ...segments]) assert.equal(segment.letGo(), false)
  })

  test('more than the machine has is an error, and no crash', () => {
    assert.throws(() => allocateSegment(2 ** 45), { code: 'ERR_LIMIT' })
  })
})
