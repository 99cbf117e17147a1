/** Lent data: copied in, copied out, and never in a place that somebody may still read. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { fstatSync } from 'node:fs'
import { describe, test } from 'node:test'
import { type LentBytes, discardLentTo, lend, takeLent } from '#src/platform/arena.js'
import { type BlockHandle, sharedHeap } from '#src/platform/shared-heap.js'
import { popen } from '#src/process/popen.js'
import { newChildBoot } from '#src/process/process-state.js'
import { decode, encode } from '#src/serialize/codec.js'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/** Park and Miller's generator: the same numbers for the same seed. */
function randomFrom(start: number): () => number {
  let state = (start % 2_147_483_646) + 1
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
}

const heap = sharedHeap()
const MIB = 1 << 20
const KIB = 1024

/** The memory that the heap takes up now. */
function usedBytes(): number {
  return fstatSync(heap.fd!).blocks * 512
}

function lent(data: Uint8Array, isReadOften = true): LentBytes {
  const result = lend(data, { isReadOften })
  assert.ok(result !== undefined)
  return result
}

function read(of: { handle: BlockHandle; byteLength: number }, reader?: BlockHandle): Uint8Array {
  return new Uint8Array(takeLent(of.handle, of.byteLength, reader))
}

/** A child that has lent so many bytes, kept for `reader`. */
async function lender(
  byteLength: number,
  reader: BlockHandle,
): Promise<{ handle: BlockHandle; kill(): Promise<void> }> {
  const child = popen('spawn', {
    entry: new URL('../fixtures/lender-main.js', import.meta.url),
    boot: newChildBoot({ name: 'lender', identity: [1], isDaemon: true, startMethod: 'spawn' }),
  })
  const ended = new Promise<void>(resolve => {
    child.onExit = () => resolve()
  })
  const answer = (): Promise<Uint8Array> =>
    new Promise(resolve => {
      child.connection.onMessage = resolve
    })
  await answer()
  child.connection.send(encode({ byteLength, reader }))
  return {
    handle: decode(await answer()) as BlockHandle,
    kill: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
}

test('lend() lends nothing without the addon', { skip: heap.isNative }, () => {
  assert.equal(lend(new Uint8Array(MIB), { isReadOften: false }), undefined)
})

describe('with the addon', { skip: !heap.isNative }, () => {
  test('what was lent arrives as a copy: neither side sees what the other writes later', () => {
    const data = new Uint8Array(100_001).map((_, index) => index)
    const before = data.slice()
    const loan = lent(data)
    data.fill(0)
    const [first, second] = [read(loan), read(loan)]
    assert.deepEqual(first, before)
    first.fill(1)
    assert.deepEqual(second, before)
    assert.deepEqual(read(loan), before)
    loan.release()
  })

  test('an array that did not change is lent once, one that did is lent anew', () => {
    const data = new Uint8Array(MIB).fill(1)
    const [first, again] = [lent(data), lent(data)]
    assert.deepEqual(again.handle, first.handle)
    first.release()
    assert.equal(read(again)[0], 1)
    data[MIB - 1] = 2
    const changed = lent(data)
    assert.notDeepEqual(changed.handle, again.handle)
    assert.deepEqual([read(again)[MIB - 1], read(changed)[MIB - 1]], [1, 2])
    for (const loan of [again, changed]) loan.release()
  })

  test('a part of a buffer is not taken for another part of it', () => {
    const data = new Uint8Array(2 * MIB)
    data.fill(5, MIB)
    const loans = [lent(data.subarray(0, MIB)), lent(data.subarray(MIB)), lent(data.subarray(0, MIB))]
    assert.deepEqual(
      loans.map(loan => read(loan)[0]),
      [0, 5, 0],
    )
    for (const loan of loans) loan.release()
  })

  test('a place is used again once it was released, and its old handle is refused from then on', () => {
    const first = lent(new Uint8Array(300 * KIB).fill(1))
    first.release()
    const second = lent(new Uint8Array(300 * KIB).fill(2))
    assert.equal(second.handle.index, first.handle.index)
    assert.throws(() => read(first), { code: 'ERR_CLOSED' })
    assert.equal(read(second)[0], 2)
    second.release()
  })

  test('a place that is kept for a reader is not used again before that one has read it, or let go', () => {
    const reader = heap.allocate(99)
    const loan = lent(new Uint8Array(500 * KIB).fill(1), false)
    loan.keepFor(reader.handle)
    loan.release()
    const others = Array.from({ length: 20 }, () => lent(new Uint8Array(500 * KIB), false))
    assert.ok(others.every(other => other.handle.index !== loan.handle.index))
    assert.equal(read(loan, reader.handle)[0], 1)
    for (const other of others) other.release()
    const again = Array.from({ length: 21 }, () => lent(new Uint8Array(500 * KIB), false))
    assert.ok(again.some(other => other.handle.index === loan.handle.index))
    for (const other of again) other.release()
    reader.release()
  })

  test('a length that the place does not have is refused', () => {
    const loan = lent(new Uint8Array(100 * KIB))
    assert.throws(() => takeLent(loan.handle, 100 * MIB), { code: 'ERR_PROTOCOL' })
    loan.release()
  })

  test(`whatever the order of lending, reading and releasing, everybody reads what was lent (SEED=${seed})`, () => {
    const random = randomFrom(seed)
    const reader = heap.allocate(99)
    const open: { loan: LentBytes; expected: number; isRead: boolean; isReadOften: boolean }[] = []
    const sources = Array.from({ length: 4 }, () => new Uint8Array(150 * KIB))
    const indexes = new Set<number>()
    for (let step = 0; step < 1000; step++) {
      if (open.length < 12 && random() < 0.5) {
        const isReadOften = random() < 0.5
        const source = sources[Math.floor(random() * sources.length)]!
        const data = random() < 0.5 ? source : source.subarray(0, 64 * KIB + Math.floor(random() * 80 * KIB))
        if (random() < 0.6) source.fill(step & 0xff)
        const loan = lent(data, isReadOften)
        if (!isReadOften) {
          loan.keepFor(reader.handle)
          loan.release()
        }
        indexes.add(loan.handle.index)
        open.push({ loan, expected: data[0]!, isRead: false, isReadOften })
      } else if (open.length > 0) {
        const at = Math.floor(random() * open.length)
        const item = open[at]!
        if (!item.isRead || item.isReadOften) {
          const bytes = read(item.loan, item.isReadOften ? undefined : reader.handle)
          assert.ok(Buffer.alloc(bytes.length, item.expected).equals(bytes))
          bytes.fill(0xee)
          item.isRead = true
        }
        if (!item.isReadOften || random() < 0.5) {
          item.loan.release()
          open.splice(at, 1)
        }
      }
    }
    for (const { loan } of open) loan.release()
    reader.release()
    discardLentTo(reader.handle)
    // Six sizes, each at most 12 times at once, and what a slow reader kept the search from finding.
    assert.ok(indexes.size < 100, `${indexes.size} places`)
  })

  test('what a killed child had lent can still be read, and goes back to the system afterwards', async () => {
    const reader = heap.allocate(99)
    const before = usedBytes()
    const child = await lender(100 * MIB, reader.handle)
    await child.kill()
    heap.reap()
    assert.ok(usedBytes() >= before + 100 * MIB)
    const bytes = read({ handle: child.handle, byteLength: 100 * MIB }, reader.handle)
    assert.deepEqual([bytes[0], bytes[100 * MIB - 1]], [9, 9])
    await eventually(() => {
      heap.reap()
      // The rings of the child's connection stay, for the next.
      return usedBytes() <= before + MIB
    })
    reader.release()
  })

  test('what a killed child had lent and nobody reads goes back when its reader lets go', async () => {
    const reader = heap.allocate(99)
    const before = usedBytes()
    const child = await lender(100 * MIB, reader.handle)
    await child.kill()
    heap.reap()
    reader.release()
    discardLentTo(reader.handle)
    await eventually(() => {
      heap.reap()
      // The rings of the child's connection stay, for the next.
      return usedBytes() <= before + MIB
    })
  })

  test('what nobody needs goes back after a while, beyond 64 MiB', async () => {
    const loans = Array.from({ length: 10 }, (_, index) => lent(new Uint8Array(16 * MIB).fill(index)))
    const most = usedBytes()
    for (const loan of loans) loan.release()
    // An unreferenced timer gives it back, so something else has to keep the loop turning.
    await eventually(() => usedBytes() <= most - 90 * MIB)
  })

  test('lend() lends nothing beyond a fourth of the memory of a container', () => {
    const program = `
      process.constrainedMemory = () => 8 * 2 ** 20
      const { lend } = await import(${JSON.stringify(import.meta.resolve('#src/platform/arena.js'))})
      const loans = [0, 1, 2].map(byte => lend(new Uint8Array(2 ** 20).fill(byte), { isReadOften: true }))
      const first = loans.map(loan => loan !== undefined)
      loans[0].release()
      console.log(JSON.stringify([...first, lend(new Uint8Array(2 ** 20).fill(3), { isReadOften: true }) !== undefined]))`
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      encoding: 'utf8',
    })
    assert.equal(stdout.trim(), '[true,true,false,true]', stderr)
  })
})
