import assert from 'node:assert/strict'
import { test } from 'node:test'
import { roundTrip } from './round-trip.js'

test('an object that contains itself comes back containing itself', () => {
  const object: Record<string, unknown> = {}
  object['self'] = object
  const result = roundTrip(object)
  assert.equal(result['self'], result)
})

test('cycles through arrays, maps, sets and errors are kept', () => {
  const array: unknown[] = []
  const map = new Map<unknown, unknown>()
  const set = new Set<unknown>()
  const error = new Error('e')
  error.cause = array
  array.push(map, set, error)
  map.set(map, array)
  set.add(set).add(array)
  const result = roundTrip(array) as [Map<unknown, unknown>, Set<unknown>, Error]
  assert.equal(result[0].get(result[0]), result)
  assert.ok(result[1].has(result[1]) && result[1].has(result))
  assert.equal(result[2].cause, result)
})

for (const [name, shared] of Object.entries({
  object: { a: 1 },
  array: [1, 2, 3, 4, 5],
  'array of texts': ['a', 'b', 'c', 'd'],
  date: new Date(1),
  map: new Map([[1, 2]]),
  set: new Set([1]),
  'regular expression': /x/,
  'boxed number': Object(1) as object,
  buffer: Buffer.from('abc'),
  'typed array': new Float64Array(2),
  'array buffer': new ArrayBuffer(2),
  url: new URL('http://example.org/'),
  error: new TypeError('x'),
  'object without a prototype': Object.create(null) as object,
  'rows of records': Array.from({ length: 5 }, (_, i) => ({ i })),
})) {
  test(`what is one object here is one object there: ${name}`, () => {
    const result = roundTrip({ first: shared, list: [0, shared], last: shared })
    assert.notEqual(result.first, shared)
    assert.equal(result.first, result.last)
    assert.equal(result.first, result.list[1])
    assert.deepStrictEqual(result.first, shared)
  })
}

test('one object among many is one object there, in any order', () => {
  const objects = Array.from({ length: 100 }, (_, i) => ({ i }))
  const message = { backward: objects.toReversed(), objects, some: [objects[50], objects[3], objects[50]] }
  const result = roundTrip(message)
  result.objects.forEach((object, i) => assert.equal(result.backward[99 - i], object))
  assert.equal(result.some[0], result.objects[50])
  assert.equal(result.some[1], result.objects[3])
  assert.equal(result.some[2], result.objects[50])
})

test('rows that refer to their parent and to each other keep doing so', () => {
  interface Row {
    id: number
    parent: unknown
    next: Row | undefined
  }
  const rows: Row[] = []
  const parent = { rows }
  for (let id = 0; id < 100; id++) rows.push({ id, parent, next: undefined })
  rows.forEach((row, i) => (row.next = rows[(i + 1) % 100]))
  const result = roundTrip(parent)
  result.rows.forEach((row, i) => {
    assert.equal(row.id, i)
    assert.equal(row.parent, result)
    assert.equal(row.next, result.rows[(i + 1) % 100])
  })
})

test('one row that stands twice in its array is one row there', () => {
  const row = { a: 1, b: 'x' }
  const rows = [row, { a: 2, b: 'y' }, row, { a: 3, b: 'z' }, { a: 4, b: 'u' }]
  const result = roundTrip(rows)
  assert.deepStrictEqual(result, rows)
  assert.equal(result[0], result[2])
  const pair = [1, 2]
  const pairs = roundTrip([pair, [3, 4], pair, [5, 6], [7, 8]])
  assert.equal(pairs[0], pairs[2])
  assert.deepStrictEqual(pairs, [pair, [3, 4], pair, [5, 6], [7, 8]])
})

test('one object in many rows is one object there', () => {
  const shared = { unit: 'ms' }
  const result = roundTrip(Array.from({ length: 50 }, (_, i) => ({ i, shared })))
  for (const row of result) assert.equal(row.shared, result[0]!.shared)
  const pairs = roundTrip(Array.from({ length: 50 }, (_, i) => [i, shared] as const))
  for (const row of pairs) assert.equal(row[1], pairs[0]![1])
})

test('several views of one buffer share memory there, whatever comes first', () => {
  const buffer = new ArrayBuffer(16)
  const bytes = new Uint8Array(buffer)
  const doubles = new Float64Array(buffer)
  const part = new DataView(buffer, 4, 4)
  for (const message of [
    { bytes, doubles, part, buffer },
    { buffer, part, doubles, bytes },
  ]) {
    const result = roundTrip(message)
    result.bytes[5] = 9
    assert.equal(result.doubles.buffer, result.buffer)
    assert.equal(result.bytes.buffer, result.buffer)
    assert.equal(result.part.getUint8(1), 9)
    assert.deepEqual([result.part.byteOffset, result.part.byteLength], [4, 4])
  }
})

test('overlapping Buffers share memory there', () => {
  const all = Buffer.from('0123456789')
  const result = roundTrip({ all, middle: all.subarray(3, 6) })
  assert.equal(result.middle.toString(), '345')
  result.all[3] = 'x'.charCodeAt(0)
  assert.equal(result.middle.toString(), 'x45')
})

test('neighbouring parts of a small buffer still share it', () => {
  const buffer = new ArrayBuffer(16)
  const result = roundTrip([new Uint8Array(buffer, 0, 8), new Uint8Array(buffer, 8, 8)] as const)
  assert.equal(result[0].buffer, result[1].buffer)
  assert.equal(result[1].byteOffset, 8)
})

test('a small part of a large buffer travels alone', () => {
  const large = new Uint8Array(10_000_000).fill(3)
  const result = roundTrip([large.subarray(10, 20), large.subarray(5000, 5010)] as const)
  assert.deepStrictEqual(
    [...result[0], ...result[1]],
    Array.from({ length: 20 }, () => 3),
  )
  assert.ok(result[0].buffer.byteLength < 100)
})
