import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { expectTypeOf } from 'expect-type'
import { type AsyncResult, Pool, sharedArray } from 'multiproc'
import { decodeNumbers, encode } from '#src/serialize/codec.js'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'
import { square } from './tasks.js'

checkLeaks()

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

const numbers = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
] as const

forEachStartMethod(context => {
  describe('Typed arrays in Pool.map()', () => {
    test('into puts the results into an array of that class, in order', async () => {
      await using pool = new Pool({ processes: 2, context })
      const result = await pool.map(square, range(30_000), { into: Float64Array })
      assert.ok(result instanceof Float64Array)
      assert.deepEqual(result, Float64Array.from(range(30_000), square))
      for (const into of numbers) {
        const few = await pool.starmap(
          (a: number, b: number) => a + b,
          [
            [1, 2],
            [30, 40],
          ],
          { into },
        )
        assert.deepEqual(few, into.of(3, 70))
      }
      const big = await pool.map((x: number) => BigInt(x) ** 3n, range(100), { into: BigInt64Array })
      assert.deepEqual(
        big,
        BigInt64Array.from(range(100), x => BigInt(x) ** 3n),
      )
      assert.deepEqual(await pool.map(square, [], { into: Float64Array }), new Float64Array(0))
    })

    test('into takes results as they are: -0, NaN, fractions, infinities', async () => {
      await using pool = new Pool({ processes: 2, context })
      const odd = [-0, NaN, 0.1, Infinity, -Infinity, Number.MAX_VALUE, 2 ** 53]
      const items = Array.from({ length: 20 }, () => odd).flat()
      const result = await pool.map((x: number) => x, items, { into: Float64Array })
      assert.ok(items.every((item, index) => Object.is(item, result[index])))
      assert.deepEqual(
        await pool.map((x: number) => x, items, { into: Float32Array }),
        Float32Array.from(items),
      )
    })

    test('into works where the number of items is not known, and with functions that wait', async () => {
      await using pool = new Pool({ processes: 2, context })
      async function* items(): AsyncGenerator<number> {
        for (let x = 0; x < 2500; x++) yield x
      }
      assert.deepEqual(
        await pool.map(async (x: number) => x / 2, items(), { into: Float64Array }),
        Float64Array.from(range(2500), x => x / 2),
      )
    })

    test('a result that does not fit fails its item: the first by index is told', async () => {
      await using pool = new Pool({ processes: 2, context })
      const wrong = (into: unknown, fn: (x: number) => unknown): AsyncResult<unknown> =>
        pool.map(fn as (x: number) => number, range(200), { into: into as Float64ArrayConstructor })
      const code = 'ERR_INVALID_ARGUMENT'
      await assert.rejects(
        wrong(Float64Array, x => (x >= 3 ? String(x) : x)),
        { code, name: 'TypeError', message: /result of item 3 is a string/ },
      )
      await assert.rejects(
        wrong(Float64Array, () => undefined),
        { code, message: /item 0 is undefined/ },
      )
      await assert.rejects(
        wrong(Uint8Array, x => x + 100),
        { code, name: 'RangeError', message: /item 156 is a number that Uint8Array cannot hold/ },
      )
      await assert.rejects(
        wrong(Int32Array, x => x / 2),
        { code, message: /item 1 / },
      )
      await assert.rejects(
        wrong(Int16Array, () => NaN),
        { code, message: /item 0 / },
      )
      await assert.rejects(
        wrong(BigInt64Array, x => x),
        { code, message: /item 0 is a number, and BigInt64Array holds a bigint/ },
      )
      await assert.rejects(
        wrong(BigInt64Array, () => 2n ** 63n),
        { code, message: /item 0 / },
      )
      assert.equal(await pool.apply(() => 'well'), 'well')
    })

    test('typed arrays as items: each number once, as it was at the call', async () => {
      await using pool = new Pool({ processes: 2, context })
      for (const kind of numbers) {
        const items = kind.from(range(100))
        const result = pool.map((x: number) => [typeof x, x], items)
        items.fill(7)
        assert.deepEqual(
          await result,
          range(100).map(x => ['number', x]),
        )
      }
      assert.deepEqual(await pool.map((x: bigint) => x + 1n, BigUint64Array.of(1n, 2n)), [2n, 3n])
      assert.deepEqual(await pool.map((x: number) => x, Buffer.from('abc')), [97, 98, 99])
      const part = new Float64Array(1000).map((_, index) => index).subarray(10, 20)
      assert.deepEqual(await pool.map((x: number) => x, part, { chunkSize: 3 }), [...part])
      const large = new Float64Array(40_000).map((_, index) => index)
      assert.deepEqual(await pool.map(square, large, { into: Float64Array }), large.map(square))
    })

    test('an array with an iterator of its own is iterated', async () => {
      await using pool = new Pool({ processes: 1, context })
      class Twice extends Float64Array {
        override *[Symbol.iterator](): ArrayIterator<number> {
          for (let index = 0; index < this.length; index++) yield 2 * this[index]!
          return undefined
        }
      }
      assert.deepEqual(await pool.map((x: number) => x, Twice.of(1, 2)), [2, 4])
    })
  })
})

test('shared arrays are items like others', async () => {
  await using pool = new Pool({ processes: 1, context: 'thread' })
  const shared = sharedArray(Float64Array, [1, 2, 3])
  assert.deepEqual(await pool.map(square, shared, { into: Float64Array }), Float64Array.of(1, 4, 9))
})

test('into is checked at the call, and mapSettled does not take it', async () => {
  await using pool = new Pool(1)
  for (const into of [Array, 'Float64Array', DataView, Float64Array.from, {}]) {
    const options = { into } as unknown as { into: Float64ArrayConstructor }
    assert.throws(() => pool.map(square, [1], options), { code: 'ERR_INVALID_ARGUMENT', message: /"into"/ })
  }
  const options = { into: Float64Array }
  assert.throws(() => pool.mapSettled(square, [1], options as object), { code: 'ERR_INVALID_ARGUMENT' })
})

test('the compiler knows what into gives', () => {
  const check = (pool: Pool): void => {
    expectTypeOf(pool.map((x: number) => x, [1], { into: Int16Array })).toEqualTypeOf<
      AsyncResult<Int16Array<ArrayBuffer>>
    >()
    expectTypeOf(pool.map((x: number) => x, [1], { into: Float64Array })).toEqualTypeOf<
      AsyncResult<Float64Array<ArrayBuffer>>
    >()
    expectTypeOf(pool.starmap((x: bigint) => x, [[1n]], { into: BigInt64Array })).toEqualTypeOf<
      AsyncResult<BigInt64Array<ArrayBuffer>>
    >()
    // @ts-expect-error -- a string is no number
    void pool.map((x: number) => String(x), [1], { into: Float64Array })
  }
  void check
})

test('decodeNumbers() gives what decode() would, for columns of every kind and nothing else', () => {
  const columns = [
    range(300),
    range(300).map(x => x * x * 1e6),
    range(300).map(x => -x * 7919 * (x % 3)),
    range(300).map(x => x / 3),
    range(10).map(x => x * 70_000),
    [1, 2, 3, 4],
  ]
  for (const column of columns) assert.deepEqual([...decodeNumbers(encode(column))!], column)
  for (const other of [[], [1], ['a', 'b', 'c', 'd'], [1, 2, 3, 'x'], 5, { a: 1 }, new Float64Array(9)]) {
    assert.equal(decodeNumbers(encode(other)), undefined)
  }
  const bytes = encode(range(300).map(x => x / 3))
  assert.throws(() => decodeNumbers(bytes.subarray(0, bytes.length - 8)), { code: 'ERR_NOT_DESERIALIZABLE' })
})
