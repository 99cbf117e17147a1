/**
 * ShareableList: items of every type, in the format of Python's, without Python's bugs. The behaviours of CPython's
 * _TestSharedMemory are here by the numbers of those tests.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { type ListItem, Process, ShareableList, SharedMemory, type StartMethod } from 'multiproc'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { decode, encode } from '#src/serialize/codec.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const heap = sharedHeap()
const methods: StartMethod[] = ['spawn', 'thread']
const hasNames = heap.isNative && existsSync('/dev/shm')
const hasPython = hasNames && spawnSync('python3', ['--version']).status === 0

/** A list that is closed at the end of its test. */
function check(values: Iterable<ListItem>, body: (list: ShareableList) => void): void {
  using list = new ShareableList(values)
  body(list)
}

for (const context of methods) {
  test(`a child on ${context} changes items, and the parent sees it`, async () => {
    using list = new ShareableList(['waiting', 0, null, false, Uint8Array.of(1, 2)])
    const child = new Process({
      context,
      target: (there: ShareableList) => {
        there[0] = 'done'
        list[1] = 42
        there.set(2, 'seven')
        there[3] = true
        there[4] = Uint8Array.of(9)
        return [...there]
      },
      args: [list],
    })
    child.start()
    const expected = ['done', 42, 'seven', true, Uint8Array.of(9)]
    assert.deepEqual(await child.result(), expected)
    assert.deepEqual([...list], expected)
  })
}

test('test_shared_memory_ShareableList_basics: every type of item, indexes, formats and replacement', () => {
  const bytes = Uint8Array.from(Buffer.from('HoWdY'))
  check(['howdy', bytes, -273.154, 100, null, true, 42], list => {
    assert.equal(list.length, 7)
    assert.equal(list.format, '8s8sdqxxxxxx?xxxxxxxx?q')
    assert.deepEqual([...list], ['howdy', bytes, -273.154, 100, null, true, 42])
    assert.equal(list[4], null)
    assert.equal(list.at(-3), null)
    assert.equal(list[2], -273.154)
    assert.equal(list[7], undefined)
    assert.equal(list.at(-8), undefined)
    // As in Python it would be the last item; it would be a property that nobody else sees.
    assert.throws(() => (list[-1] = 1), { name: 'RangeError', code: 'ERR_INVALID_ARGUMENT' })
    assert.equal(list.indexOf(100), 3)
    assert.equal(list.indexOf(5), -1)
    assert.equal(list.count(42), 1)
    assert.equal(list.count(bytes), 1)
    list.set(-1, 41)
    assert.equal(list[6], 41)

    list[3] = 42
    assert.equal(list.count(42), 1)
    list[4] = 'some'
    assert.equal(list.format, '8s8sdq8sxxxxxxx?q')
    assert.throws(() => void (list[4] = 'far too many'), { name: 'RangeError', code: 'ERR_INVALID_ARGUMENT' })
    assert.equal(list[4], 'some')
    list[0] = Uint8Array.from(Buffer.from('encodés'))
    assert.equal(Buffer.from(list[0]).toString(), 'encodés')
    assert.throws(() => void (list[0] = 'not quite enough'), { name: 'RangeError' })
    assert.throws(() => void (list[7] = 1), { name: 'RangeError' })
    assert.throws(() => list.set(-8, 1), { name: 'RangeError' })
  })
})

test('items that Python does not take are refused, and undefined', () => {
  for (const item of [undefined, Symbol('x'), {}, [], new Date(), () => 0, 'half \ud800']) {
    assert.throws(() => new ShareableList([item as never]), {
      name: 'TypeError',
      code: 'ERR_INVALID_ARGUMENT',
    })
    check([null], list => {
      assert.throws(() => list.set(0, item as never), { name: 'TypeError' })
      assert.equal(list[0], null)
    })
  }
  for (const item of [2n ** 63n, -(2n ** 63n) - 1n]) {
    assert.throws(() => new ShareableList([item]), { name: 'RangeError' })
  }
})

test('numbers keep their value: large integers are bigints, others floats', () => {
  const numbers = [0, -0, 1, -1, 2 ** 53 - 1, 2 ** 60, 0.1, NaN, Infinity, -Infinity, 5e-324]
  check(numbers, list => assert.deepEqual([...list], numbers))
  check([2n ** 63n - 1n, -(2n ** 63n), 7n], list => {
    assert.deepEqual([...list], [2n ** 63n - 1n, -(2n ** 63n), 7])
  })
})

test('P242: text of several bytes for each character is kept whole', () => {
  const texts = ['é'.repeat(7), '漢'.repeat(8), '😀'.repeat(3), '']
  check(texts, list => assert.deepEqual([...list], texts))
})

test('P241: zeros at the end of text and bytes are kept', () => {
  const items = [
    'a\0',
    '\0\0\0',
    Uint8Array.of(0),
    Uint8Array.of(1, 0, 0, 0),
    new Uint8Array(0),
    '12345678\0',
  ]
  check(items, list => {
    assert.deepEqual([...list], items)
    list[0] = 'b\0\0'
    assert.equal(list[0], 'b\0\0')
  })
})

test('what has no items is refused, and not taken for an empty list', () => {
  for (const wrong of [5, {}, true]) {
    assert.throws(() => new ShareableList(wrong as never), {
      name: 'TypeError',
      code: 'ERR_INVALID_ARGUMENT',
    })
  }
})

test('an empty list is one', () => {
  check([], list => {
    assert.equal(list.length, 0)
    assert.deepEqual([...list], [])
    assert.equal(list.format, '')
  })
})

test('it prints its items', () => {
  check(['a', 1, null], list => {
    assert.equal(inspect(list), "ShareableList([ 'a', 1, null ])")
    assert.equal(String(list), inspect(list))
  })
})

test('memory that holds no list is refused', { skip: !hasNames }, () => {
  using memory = new SharedMemory({ name: true, size: 64 })
  for (const length of [-1n, 100n, 2n ** 62n]) {
    new DataView(memory.buffer).setBigInt64(0, length, true)
    assert.throws(() => new ShareableList(null, { name: memory.name }), { code: 'ERR_PROTOCOL' })
  }
  new BigInt64Array(memory.buffer).set([1n, 0n, 1000n])
  assert.throws(() => new ShareableList(null, { name: memory.name }), { code: 'ERR_PROTOCOL' })
})

describe('with a name', { skip: !hasNames }, () => {
  test('test_shared_memory_ShareableList_pickling: what was sent is the same list', () => {
    using list = new ShareableList(range(10), { name: true })
    const again = decode(encode(list)) as ShareableList
    assert.deepEqual([...again], range(10))
    again[9] = 'changed'
    assert.equal(list[9], 'changed')
    assert.equal(again.shm.name, list.shm.name)
    using long = new ShareableList(range(1000), { name: true })
    assert.equal(encode(long).length, encode(list).length)
    again.shm.close()
  })

  test('C168 test_shared_memory_ShareableList_pickling_dead_object: after unlink() it cannot be attached', () => {
    using list = new ShareableList(range(10), { name: true })
    const bytes = encode(list)
    list.shm.unlink()
    assert.throws(() => decode(bytes), { code: 'ERR_NOT_FOUND' })
  })

  test('Python reads and writes a list of ours, and we one of Python’s', { skip: !hasPython }, () => {
    const python = (code: string): string =>
      execFileSync(
        'python3',
        ['-c', `from multiprocessing import shared_memory as sm, resource_tracker as rt\n${code}`],
        { encoding: 'utf8' },
      ).trim()
    using list = new ShareableList(['text', 12, 0.5, true, null, 'é\0', Uint8Array.of(1)], { name: true })
    const printed = python(`
l = sm.ShareableList(name='${list.shm.name}')
rt.unregister(l.shm._name, 'shared_memory')
print(list(l), l.format)
l[0] = 'ok'; l[1] = -5; l[4] = 'x'; l[5] = 'z'`)
    assert.equal(printed, String.raw`['text', 12, 0.5, True, None, 'é', b'\x01'] 8sqdxxxxxxx?xxxxxx?x8s8s`)
    assert.deepEqual([...list], ['ok', -5, 0.5, true, 'x', 'z', Uint8Array.of(1)])

    const name = python(`
l = sm.ShareableList(['theirs', 1, 2.5, False, None, b'bytes'])
rt.unregister(l.shm._name, 'shared_memory')
print(l.shm.name)`)
    const theirs = new ShareableList(null, { name })
    assert.deepEqual([...theirs], ['theirs', 1, 2.5, false, null, Uint8Array.from(Buffer.from('bytes'))])
    theirs[0] = 'ours'
    assert.equal(theirs[0], 'ours')
    theirs.shm.unlink()
    theirs.shm.close()
  })
})

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
