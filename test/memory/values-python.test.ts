/**
 * RawValue, rawArray, SharedValue and SharedArray: the behaviours that CPython's own tests of shared ctypes check, by
 * the names of those tests (classes _TestValue, _TestArray, _TestHeap), and what JavaScript adds.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { inspect } from 'node:util'
import {
  Lock,
  Pool,
  Process,
  RLock,
  RawValue,
  SharedArray,
  SharedValue,
  type StartMethod,
  rawArray,
} from 'multiproc'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { decode, encode } from '#src/serialize/codec.js'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const heap = sharedHeap()
const methods: StartMethod[] = ['spawn', 'thread']

/** Type, value before and after, as in _TestValue. */
const codes = [
  ['i', 4343, 24_234],
  ['d', 3.625, -4.25],
  ['h', -232, 234],
  ['q', 2n ** 33n, 2n ** 34n],
  ['c', 120, 121],
] as const

for (const context of methods) {
  describe(context, () => {
    test('C075 test_value: values of five types are changed by a child and seen by the parent', async () => {
      const values: SharedValue[] = codes.map(([type, before]) => new SharedValue(type, before))
      assert.deepEqual(
        values.map(value => value.value),
        codes.map(([, before]) => before),
      )
      const child = new Process({
        context,
        target: (there: SharedValue[], after: (number | bigint)[]) => {
          for (const [index, value] of there.entries()) value.value = after[index]!
        },
        args: [values, codes.map(([, , after]) => after)],
      })
      child.start()
      await child.result()
      assert.deepEqual(
        values.map(value => value.value),
        codes.map(([, , after]) => after),
      )
    })

    test('C076 test_rawvalue: the same without a lock', async () => {
      const values = codes.map(([type, before]) => new RawValue(type, before))
      const child = new Process({
        context,
        target: () => {
          for (const [index, [, , after]] of codes.entries()) (values[index] as RawValue).value = after
        },
      })
      child.start()
      await child.result()
      assert.deepEqual(
        values.map(value => value.value),
        codes.map(([, , after]) => after),
      )
    })

    test('C078 test_array: length, index, slices, and a prefix sum in a child', async () => {
      const seq = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831]
      const array = new SharedArray('i', seq)
      assert.equal(array.length, seq.length)
      assert.equal(array[3], seq[3])
      assert.equal(array.at(-1), seq.at(-1))
      assert.deepEqual(array.slice(2, 7), Int32Array.from(seq.slice(2, 7)))
      array.set([1, 2, 3, 4], 4)
      seq.splice(4, 4, 1, 2, 3, 4)
      assert.deepEqual([...array], seq)
      const child = new Process({
        context,
        target: (there: SharedArray<'i'>) => {
          for (let index = 1; index < there.length; index++) there[index]! += there[index - 1]!
        },
        args: [array],
      })
      child.start()
      await child.result()
      for (let index = 1; index < seq.length; index++) seq[index]! += seq[index - 1]!
      assert.deepEqual([...array], seq)
    })

    // Typed arrays are memory, which only the addon gives to another process.
    const needsMemory = { skip: context === 'spawn' && !heap.isNative }
    test('C080 test_rawarray: the same without a lock', needsMemory, async () => {
      const seq = [680, 626, 934, 821]
      const array = rawArray('i', seq)
      array.set([1, 2], 1)
      const child = new Process({
        context,
        target: () => {
          for (let index = 1; index < array.length; index++) array[index]! += array[index - 1]!
        },
      })
      child.start()
      await child.result()
      assert.deepEqual([...array], [680, 681, 683, 1504])
    })

    test('update() and blocks that have the lock lose nothing, whoever else counts', async () => {
      const counter = new SharedValue('int32')
      const total = new SharedArray('float64', 2)
      await using pool = new Pool({ processes: 2, context })
      await pool.map(
        async () => {
          counter.update(count => count + 1)
          const held = await total.guard()
          total[0]! += 1
          total[1]! -= 1
          held.release()
        },
        Array.from({ length: 400 }, (_, index) => index),
        { chunkSize: 10 },
      )
      assert.equal(counter.value, 400)
      assert.deepEqual([...total], [400, -400])
    })

    test('a value made in a child and returned is there, with its lock', async () => {
      const child = new Process({ context, target: () => new SharedValue('d', 2.5) })
      child.start()
      await child.join()
      const value = await child.result()
      if (context === 'spawn' && !heap.isNative) {
        // Its memory was the child's.
        assert.throws(() => value.value, { code: 'ERR_CLOSED' })
        return
      }
      assert.equal(value.value, 2.5)
      assert.ok(value.getLock() instanceof RLock)
      assert.equal(
        value.update(number => number * 2),
        5,
      )
    })
  })
}

test('C077 test_getobj_getlock: the lock is the given one, there is none without, and others are refused', () => {
  const value = new SharedValue('i', 5)
  assert.ok(value.getLock() instanceof RLock)
  assert.equal(value.getObj().value, 5)
  assert.ok(new SharedValue('i', 5, { lock: true }).getLock() instanceof RLock)
  for (const lock of [new Lock(), new RLock()]) {
    assert.equal(new SharedValue('i', 5, { lock }).getLock(), lock)
  }
  assert.equal('getLock' in new RawValue('i', 5), false)
  for (const lock of ['no', 5, null, false]) {
    assert.throws(() => new SharedValue('i', 5, { lock: lock as never }), { code: 'ERR_INVALID_ARGUMENT' })
  }
})

test('C081 test_getobj_getlock_obj: the same for arrays', () => {
  const array = new SharedArray('i', 10)
  assert.ok(array.getLock() instanceof RLock)
  assert.ok(array.getObj() instanceof Int32Array)
  const lock = new Lock()
  assert.equal(new SharedArray('i', 10, { lock }).getLock(), lock)
  assert.equal('getLock' in rawArray('i', 10), false)
  for (const lock of ['no', false]) {
    assert.throws(() => new SharedArray('i', 10, { lock: lock as never }), { code: 'ERR_INVALID_ARGUMENT' })
  }
})

test('arrays are made of a length or of items, and of nothing else', () => {
  for (const wrong of [null, undefined, {}, '3', true]) {
    assert.throws(() => new SharedArray('i', wrong as never), {
      name: 'TypeError',
      code: 'ERR_INVALID_ARGUMENT',
    })
  }
})

test('test_array_from_size: elements are zero, also where the memory was used before', () => {
  for (let round = 0; round < 3; round++) {
    const array = new SharedArray('i', 10)
    assert.deepEqual([...array], Array(10).fill(0))
    array.set(Array.from({ length: 10 }, (_, index) => index))
    assert.deepEqual([...array], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  }
})

test('C152 test_free_from_gc: values and arrays that are dropped are let go, and nothing blocks', async () => {
  const isFree: (() => boolean)[] = []
  for (let round = 0; round < 200; round++) {
    const value = new SharedValue('i', round)
    const array = new SharedArray('d', [round])
    if (round === 100 && heap.isNative) {
      const kept = decode(encode({ value, array })) as { value: SharedValue; array: SharedArray }
      assert.equal(kept.value.value, 100)
      assert.equal(kept.value.getObj(), value.getObj())
      assert.equal(kept.array.getObj().buffer, array.getObj().buffer)
    }
  }
  const reference = new WeakRef(new RawValue('i', 1))
  isFree.push(() => reference.deref() === undefined)
  await eventually(() => {
    collectGarbage()
    return isFree.every(each => each())
  })
})

test('P215: integers wrap around as in C, and what is no integer is refused', () => {
  const value = new RawValue('i', 2 ** 31)
  assert.equal(value.value, -(2 ** 31))
  const bytes = new SharedArray('B', [300, -1])
  assert.deepEqual([...bytes], [44, 255])
  for (const wrong of [1.5, NaN, '1', 1n, null]) {
    assert.throws(() => void (value.value = wrong as never), {
      name: 'TypeError',
      code: 'ERR_INVALID_ARGUMENT',
    })
    assert.throws(() => void (bytes[0] = wrong as never), { name: 'TypeError' })
    assert.throws(() => bytes.fill(wrong as never), { name: 'TypeError' })
    assert.throws(() => new SharedArray('i', [wrong as never]), { name: 'TypeError' })
  }
  assert.throws(() => new RawValue('q', 1 as never), { name: 'TypeError' })
  assert.throws(() => new RawValue('z' as never), { name: 'TypeError' })
  assert.equal(new RawValue('d', NaN).value, NaN)
})

test('P216: beyond the end there is nothing to read, and storing there is an error', () => {
  const array = new SharedArray('i', [1, 2, 3])
  assert.throws(() => (array[-1] = 1), { name: 'RangeError', message: /array\[array\.length - 1\]$/ })
  assert.equal(array[-1], undefined)
  assert.equal(array[3], undefined)
  assert.equal(array.at(-4), undefined)
  assert.throws(() => void (array[3] = 1), { name: 'RangeError', code: 'ERR_INVALID_ARGUMENT' })
  assert.throws(() => array.set([1, 2], 2), { name: 'RangeError' })
  assert.throws(() => array.set([1], -1), { name: 'RangeError' })
  assert.throws(() => new SharedArray('i', -1), { name: 'RangeError' })
  assert.deepEqual([...array.fill(7, 1)], [1, 7, 7])
  assert.equal(inspect(new SharedArray('i', 2)), '<SharedArray i of 2, <RLock free>>')
})

test('what is stored as another type than the elements have is told how to be converted', () => {
  const flag = new SharedValue('b', 0)
  const large = new SharedValue('q', 0n)
  assert.throws(() => (flag.value = true as never), { name: 'TypeError', message: /To fix: pass 1, / })
  assert.throws(() => (flag.value = 5n as never), { name: 'TypeError', message: /To fix: pass Number\(\)/ })
  assert.throws(() => (large.value = 5 as never), { name: 'TypeError', message: /To fix: pass 5n, / })
  assert.throws(() => (large.value = false as never), { name: 'TypeError', message: /To fix: pass 0n, / })
  assert.throws(() => (flag.value = 'x' as never), { name: 'TypeError', message: /To fix: convert it, / })
  assert.deepEqual([flag.value, large.value], [0, 0n])
})

test('P217: text of bytes ends at the first zero, and raw is all bytes', () => {
  const text = new SharedArray('c', 10)
  assert.equal(text.value, '')
  text.value = 'héllo'
  assert.equal(text.value, 'héllo')
  text.value = 'ab'
  assert.equal(text.value, 'ab')
  assert.deepEqual([...text.raw.subarray(0, 4)], [97, 98, 0, 108])
  text.raw = Uint8Array.of(1, 2)
  assert.deepEqual([...text.raw], [1, 2, 0, 0, 0, 0, 0, 0, 0, 0])
  assert.equal(new SharedArray('c', 'hello').length, 5)
  assert.throws(() => void (text.value = 'far too long'), { name: 'RangeError' })
  assert.throws(() => void (text.raw = new Uint8Array(11)), { name: 'RangeError' })
  assert.throws(() => new SharedArray('i', 1).value, { code: 'ERR_INVALID_STATE' })
})

test('a value whose lock is held by a killed child is told of it, and can be taken over', async () => {
  const value = new SharedValue('i', 1)
  const child = new Process({
    context: 'spawn',
    target: () => {
      value.acquireSync()
      value.value = 2
      process.kill(process.pid, 'SIGKILL')
    },
  })
  child.start()
  assert.equal(await child.join(), -9)
  assert.throws(() => value.value, { code: 'ERR_OWNER_DIED' })
  const held = await value.guard({ recover: true })
  assert.equal(held.ownerDied, true)
  assert.equal(value.value, 2)
  held.release()
  assert.equal(value.value, 2)
})

test('64-bit integers are bigints, and names say the width', () => {
  const big = new SharedArray('int64', [2n ** 62n, -1n])
  assert.deepEqual([...big], [2n ** 62n, -1n])
  assert.equal(new RawValue('uint64', -1n).value, 2n ** 64n - 1n)
  assert.ok(rawArray('float32', 2) instanceof Float32Array)
  assert.deepEqual([...rawArray('c', 'hi')], [104, 105])
})

test(
  'without the addon the memory itself cannot go to another process, and the error says why',
  { skip: heap.isNative },
  async () => {
    const array = new SharedArray('i', 2)
    assert.throws(() => encode(array.getObj()), { code: 'ERR_NOT_SUPPORTED' })
    const child = new Process({ context: 'spawn', target: () => array.getObj() })
    child.start()
    await assert.rejects(child.result(), { code: 'ERR_NOT_SUPPORTED' })
    await child.join()
  },
)
