import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { decode, encode } from '#src/serialize/codec.js'
import { assertSame, roundTrip, withHoles } from './round-trip.js'

const numbers = (length: number, of: (index: number) => number): number[] =>
  Array.from({ length }, (_, i) => of(i))

const edges: Record<string, [low: number, high: number, bytesEach: number]> = {
  'unsigned bytes': [0, 255, 1],
  'signed bytes': [-128, 127, 1],
  'one beyond signed bytes': [-129, 127, 2],
  'one beyond signed bytes above': [-1, 128, 2],
  'unsigned 16 bits': [0, 65_535, 2],
  'one beyond unsigned bytes': [0, 256, 2],
  'signed 16 bits': [-32_768, 32_767, 2],
  'one beyond signed 16 bits': [-32_769, 0, 4],
  'one beyond unsigned 16 bits': [0, 65_536, 4],
  'signed 32 bits': [-(2 ** 31), 2 ** 31 - 1, 4],
  'one beyond signed 32 bits': [-(2 ** 31) - 1, 0, 8],
  'one beyond signed 32 bits above': [0, 2 ** 31, 8],
}
for (const [name, [low, high, bytesEach]] of Object.entries(edges)) {
  for (const length of [4, 23, 24, 25, 1000, 40_000]) {
    test(`${length} numbers are packed exactly: ${name}`, () => {
      const values = numbers(length, i => [low, high, 0, 1][i % 4]!)
      const bytes = encode(values)
      assert.ok(bytes.length <= length * bytesEach + 24, `${bytes.length} bytes`)
      assertSame(decode(bytes), values)
      assertSame(roundTrip(values), values)
    })
  }
}

const steady: Record<string, [of: (index: number) => number, bytesEach: number]> = {
  'ascending by 1': [i => i, 1],
  'descending by 1': [i => 1_000_000 - i, 1],
  'the squares': [i => i * i, 4],
  'times in milliseconds': [i => 1_700_000_000_000 + i * 40 + (i % 7), 1],
  'differences of signed bytes': [i => 1e9 + (i % 2 === 0 ? 127 : 0), 1],
  'differences one beyond signed bytes': [i => 1e9 + (i % 2 === 0 ? 128 : 0), 2],
  'differences of signed 16 bits': [i => 1e9 - (i % 2 === 0 ? 32_767 : 0), 2],
  'differences one beyond signed 16 bits': [i => -(2 ** 40) - (i % 2 === 0 ? 32_768 : 0), 4],
  'differences of 32 bits': [i => 2 ** 40 + (i % 2) * (2 ** 31 - 1), 4],
  'differences one beyond 32 bits': [i => 2 ** 40 + (i % 2) * 2 ** 31, 8],
  'up to the largest safe integer': [i => Number.MAX_SAFE_INTEGER - i, 1],
  'up to the smallest safe integer': [i => Number.MIN_SAFE_INTEGER + i, 1],
  'across the largest safe integer': [i => 2 ** 53 - 20 + i, 8],
}
for (const [name, [of, bytesEach]] of Object.entries(steady)) {
  for (const length of [31, 32, 100, 20_000]) {
    test(`${length} integers that change steadily are packed exactly: ${name}`, () => {
      const values = numbers(length, of)
      const bytes = encode(values)
      if (length > 31) assert.ok(bytes.length <= length * bytesEach + 32, `${bytes.length} bytes`)
      assertSame(decode(bytes), values)
      assertSame(roundTrip(values), values)
      // The same as a field of records and of pairs.
      const rows = values.map(value => ({ value, pair: [value, value] }))
      assertSame(roundTrip(rows), rows)
    })
  }
}

for (const odd of [-0, Number.NaN, 0.5, Number.POSITIVE_INFINITY, 2 ** 53]) {
  for (const place of [0, 1, 30, 99]) {
    test(`a column of integers with ${Object.is(odd, -0) ? '-0' : odd} at ${place} stays exact`, () => {
      const values = numbers(100, i => (i === place ? odd : i))
      assertSame(roundTrip(values), values)
    })
  }
}

for (const other of [undefined, null, 'text', 7n, true, {}, [1], Symbol.for('s')]) {
  for (const place of [0, 1, 50, 99]) {
    test(`${inspect(other)} at ${place} among numbers, texts, booleans, rows and pairs keeps everything`, () => {
      for (const usual of [
        (i: number): unknown => i,
        (i: number): unknown => `text ${i}`,
        (i: number): unknown => i % 2 === 0,
        (i: number): unknown => ({ i }),
        (i: number): unknown => [i, i],
      ]) {
        const values = Array.from({ length: 100 }, (_, i) => (i === place ? other : usual(i)))
        assertSame(roundTrip(values), values)
      }
    })
  }
}

test('a hole among numbers, texts, rows and pairs stays a hole', () => {
  for (const usual of [
    (i: number): unknown => i,
    (i: number): unknown => `${i}`,
    (i: number): unknown => ({ i }),
  ]) {
    const values = withHoles(
      Array.from({ length: 100 }, (_, i) => usual(i)),
      40,
    )
    const result = roundTrip(values)
    assert.ok(!(40 in result))
    assertSame(result, values)
  }
  const pairs: unknown[][] = Array.from({ length: 50 }, (_, i) => [i, i])
  withHoles(pairs[20]!, 0)
  assertSame(roundTrip(pairs), pairs)
})

test('texts are packed by columns, short and long, narrow and wide', () => {
  for (const values of [
    Array.from({ length: 3000 }, (_, i) => `text number ${i}`),
    Array.from({ length: 300 }, (_, i) => 'é'.repeat(i % 256)),
    Array.from({ length: 300 }, (_, i) => '漢'.repeat(i % 256)),
    Array.from({ length: 300 }, (_, i) => (i === 77 ? '😀' : `t${i}`)),
    Array.from({ length: 300 }, (_, i) => 'x'.repeat(i)),
    Array.from({ length: 300 }, () => ''),
    Array.from({ length: 3000 }, (_, i) => ['red', 'green', 'blue'][i % 3]!),
    Array.from({ length: 3000 }, (_, i) => `one of 255: ${i % 255}`),
    Array.from({ length: 3000 }, (_, i) => `one of 256: ${i % 256}`),
    Array.from({ length: 3000 }, (_, i) => `one of 257: ${i % 257}`),
    ['\ud800', '\udc00', '\ud800', 'x'],
  ]) {
    assertSame(roundTrip(values), values)
  }
})

test('records of one shape are packed by column and keep the order of their keys', () => {
  const rows = Array.from({ length: 500 }, (_, id) => ({
    id,
    name: `user ${id}`,
    score: id * 1.5,
    active: id % 3 === 0,
    group: ['a', 'b', 'c'][id % 3],
    position: { x: id, y: -id },
    tags: [`t${id}`],
    maybe: id % 2 === 0 ? null : id,
    when: new Date(id),
  }))
  const bytes = encode(rows)
  assert.ok(bytes.length < JSON.stringify(rows).length / 2)
  assertSame(decode(bytes), rows)
  for (const length of [3, 4, 5, 63, 64, 65])
    assertSame(roundTrip(rows.slice(0, length)), rows.slice(0, length))
})

test('records of different shapes, orders and lengths stay themselves', () => {
  const rows = Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? { a: i, b: 1 } : { b: 1, a: i }))
  const result = roundTrip(rows)
  assert.deepStrictEqual(result, rows)
  result.forEach((row, i) => assert.deepEqual(Object.keys(row), Object.keys(rows[i]!)))
  const growing = Array.from({ length: 100 }, (_, i) => (i < 90 ? { a: i } : { a: i, more: true }))
  assertSame(roundTrip(growing), growing)
})

test('records with keys that live on Object.prototype are packed as data', () => {
  const rows = Array.from({ length: 100 }, (_, i) => ({
    toString: i,
    constructor: `c${i}`,
    hasOwnProperty: null,
  }))
  assertSame(roundTrip(rows), rows)
})

test('pairs and triples are packed by column', () => {
  const pairs = Array.from({ length: 300 }, (_, i) => [i, `name ${i}`, i % 2 === 0] as const)
  assertSame(roundTrip(pairs), pairs)
  const uneven = Array.from({ length: 300 }, (_, i) => (i === 250 ? [1] : [i, i]))
  assertSame(roundTrip(uneven), uneven)
  const matrix = Array.from({ length: 50 }, (_, i) => numbers(50, j => i * j * 0.5))
  assertSame(roundTrip(matrix), matrix)
})

test('rows in rows in rows are packed', () => {
  const deep = Array.from({ length: 10 }, (_, a) => ({
    a,
    rows: Array.from({ length: 10 }, (_, b) => ({
      b,
      rows: Array.from({ length: 10 }, (_, c) => ({ a, b, c })),
    })),
  }))
  assertSame(roundTrip(deep), deep)
})

test('decoded arrays have no holes: growing one is like growing any array', () => {
  const result = roundTrip(numbers(100_000, i => i * 0.5))
  assert.equal(Array.isArray(result), true)
  assert.equal(result.push(1), 100_001)
  result.length = 2
  assert.deepStrictEqual(result, [0, 0.5])
})

test('a million numbers take the bytes that they need', () => {
  const values = numbers(1_000_000, i => i * 0.5)
  const bytes = encode(values)
  assert.ok(bytes.length < 8_000_100)
  const result = decode(bytes) as number[]
  assert.equal(result.length, 1_000_000)
  for (let i = 0; i < values.length; i += 997) assert.equal(result[i], values[i])
})
