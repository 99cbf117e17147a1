/** Large binary data that travels beside the message: what arrives is the same as without, and the reader believes nothing. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { decode, encode } from '#src/serialize/codec.js'
import { AttachmentList, BESIDE_BYTES_MIN } from '#src/transport/attachments.js'

/** A value as bytes, with plain copies of what travels beside them. */
function written(value: unknown): { bytes: Uint8Array; items: unknown[] } {
  const list = new AttachmentList()
  const bytes = encode(value, { beside: list.beside })
  return { bytes, items: list.items.map(item => Uint8Array.from(item as Uint8Array).buffer) }
}

function thereAndBack<T>(value: T): T {
  const { bytes, items } = written(value)
  return decode(bytes, { attachments: items }) as T
}

const LARGE = BESIDE_BYTES_MIN

describe('beside', () => {
  for (const byteLength of [LARGE - 8, LARGE, LARGE + 8, 1_000_000]) {
    test(`every kind of buffer and view of ${byteLength} bytes arrives equal, of the same kind`, () => {
      const bytes = new Uint8Array(byteLength).map((_, index) => index * 7)
      const values = [
        bytes,
        Buffer.from(bytes),
        bytes.slice().buffer,
        new Float64Array(bytes.slice().buffer),
        new BigInt64Array(bytes.slice().buffer),
        new Int16Array(bytes.slice().buffer, 2, 8),
        new DataView(bytes.slice().buffer, 0),
        new Uint8ClampedArray(bytes),
      ]
      const { bytes: message, items } = written(values)
      assert.equal(items.length, byteLength >= LARGE ? values.length - 1 : 0)
      const back = decode(message, { attachments: items }) as typeof values
      assert.deepStrictEqual(back, values)
    })
  }

  test('a resizable buffer stays resizable', () => {
    const Resizable = ArrayBuffer as unknown as new (size: number, options: object) => ArrayBuffer
    const buffer = new Resizable(LARGE, { maxByteLength: 2 * LARGE })
    new Uint8Array(buffer).fill(3)
    const back = thereAndBack(buffer) as ArrayBuffer & { resize(size: number): void; maxByteLength: number }
    assert.equal(back.maxByteLength, 2 * LARGE)
    assert.ok(new Uint8Array(back).every(byte => byte === 3))
    back.resize(LARGE + 1)
  })

  test('one array at several places arrives as one, and is placed once', () => {
    const array = new Float32Array(LARGE)
    const { bytes, items } = written({ first: array, list: [array, array] })
    assert.equal(items.length, 1)
    const back = decode(bytes, { attachments: items }) as { first: Float32Array; list: Float32Array[] }
    assert.equal(back.first, back.list[0])
    assert.equal(back.first, back.list[1])
  })

  test('views that show the same memory do so afterwards, and the memory is placed once', () => {
    const whole = new Uint8Array(3 * LARGE)
    const { bytes, items } = written([whole.subarray(0, 2 * LARGE), whole.subarray(LARGE), whole.buffer])
    assert.deepEqual(
      items.map(item => (item as ArrayBuffer).byteLength),
      [3 * LARGE],
    )
    const [low, high, buffer] = decode(bytes, { attachments: items }) as [Uint8Array, Uint8Array, ArrayBuffer]
    low[LARGE] = 5
    assert.equal(high[0], 5)
    assert.equal(low.buffer, buffer)
  })

  test('what only a graph can carry is sent whole, with nothing left beside it', () => {
    const value = { array: new Uint8Array(LARGE).fill(4), frozen: Object.freeze({ a: 1 }) }
    const { bytes, items } = written(value)
    assert.deepEqual(items, [])
    assert.deepEqual(decode(bytes), value)
  })

  test('columns and classes go on working around it', () => {
    class Picture {
      pixels: Uint8Array
      constructor(pixels: Uint8Array) {
        this.pixels = pixels
      }
    }
    const rows = Array.from({ length: 10 }, (_, id) => ({ id, data: new Uint8Array(LARGE).fill(id) }))
    const back = thereAndBack({ picture: new Picture(new Uint8Array(LARGE).fill(1)), rows })
    assert.equal(back.picture.pixels[5], 1)
    assert.deepEqual(
      back.rows.map(({ id, data }) => data[id]),
      rows.map(({ id }) => id),
    )
  })

  describe('the reader refuses', () => {
    const { bytes, items } = written(new Uint8Array(LARGE))
    const cases: Record<string, unknown[] | undefined> = {
      'data that is missing': undefined,
      'data that got lost': [undefined],
      'data of another length': [new ArrayBuffer(LARGE - 1)],
      'data of another kind': [new Uint8Array(LARGE)],
    }
    for (const [what, attachments] of Object.entries(cases)) {
      test(what, () => {
        assert.throws(() => decode(bytes, { attachments }), { code: 'ERR_NOT_DESERIALIZABLE' })
      })
    }
    test('data that another value was made of', () => {
      decode(bytes, { attachments: items })
      assert.throws(() => decode(bytes, { attachments: items }), { code: 'ERR_NOT_DESERIALIZABLE' })
    })
    test('a place of data where a count belongs', () => {
      const message = encode('x'.repeat(100))
      const damaged = Uint8Array.from(message)
      damaged[3] = 0xff
      assert.throws(() => decode(damaged), { code: 'ERR_NOT_DESERIALIZABLE' })
    })
  })
})
