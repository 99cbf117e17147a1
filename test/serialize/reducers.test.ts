import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decode, encode, registerReducer } from '#src/serialize/codec.js'
import { roundTrip } from './round-trip.js'

class Temperature {
  readonly #kelvin: number
  constructor(kelvin: number) {
    this.#kelvin = kelvin
  }
  get kelvin(): number {
    return this.#kelvin
  }
}
registerReducer({
  type: Temperature,
  name: 'test.Temperature',
  encode: value => ({ kelvin: value.kelvin }),
  decode: data => new Temperature((data as { kelvin: number }).kelvin),
})

class Sealed {
  readonly bytes: Uint8Array
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }
}
registerReducer({
  type: Sealed,
  name: 'test.Sealed',
  encode: value => encode(value.bytes),
  decode: data => new Sealed(decode(data as Uint8Array) as Uint8Array),
})

test('an object of a registered class travels as its reducer says, private fields and all', () => {
  const result = roundTrip({ list: Array.from({ length: 10 }, (_, i) => new Temperature(i)) })
  result.list.forEach((item, i) => {
    assert.ok(item instanceof Temperature)
    assert.equal(item.kelvin, i)
  })
})

test('one reduced object is one object there', () => {
  const shared = new Temperature(5)
  const result = roundTrip([shared, { shared }] as const)
  assert.equal(result[0], result[1].shared)
})

test('a subclass travels by the reducer of its base', () => {
  class Fever extends Temperature {}
  assert.equal(roundTrip(new Fever(312)).kelvin, 312)
})

test('a reducer may call encode() and decode() itself', () => {
  const result = roundTrip([{ a: 1 }, new Sealed(new Uint8Array([1, 2])), { a: 2 }])
  assert.deepEqual(result[0], { a: 1 })
  assert.deepEqual((result[1] as Sealed).bytes, new Uint8Array([1, 2]))
  assert.deepEqual(result[2], { a: 2 })
})

test('what a reducer throws comes out of encode(), and the next message is well', () => {
  class Refusing {
    readonly a = 1
  }
  registerReducer({
    type: Refusing,
    name: 'test.Refusing',
    encode: () => {
      throw new RangeError('not today')
    },
    decode: () => new Refusing(),
  })
  assert.throws(() => encode({ a: [new Refusing()] }), new RangeError('not today'))
  assert.deepEqual(roundTrip({ a: 1 }), { a: 1 })
})

test('a reducer that the other side lacks is named', () => {
  const bytes = Buffer.from(encode(new Temperature(1)))
  bytes[bytes.indexOf('test.Temperature')] = 'T'.charCodeAt(0)
  assert.throws(() => decode(bytes), /no reducer "Test\.Temperature" is registered/)
})

test('registerReducer() rejects what is no reducer', () => {
  const good = { type: Sealed, name: 'x', encode: () => 1, decode: () => new Sealed(new Uint8Array()) }
  const register = registerReducer as (reducer: unknown) => void
  assert.throws(() => register({ ...good, type: 'Sealed' }), {
    name: 'TypeError',
    code: 'ERR_INVALID_ARGUMENT',
  })
  assert.throws(() => register({ ...good, name: '' }), TypeError)
  assert.throws(() => register({ ...good, encode: undefined }), TypeError)
  assert.throws(() => register({ ...good, type: Object }), TypeError)
  assert.throws(() => register(undefined), TypeError)
  assert.throws(() => register({ ...good, type: Map, name: 'test.Temperature' }), RangeError)
})
