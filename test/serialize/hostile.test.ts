import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SerializeError } from 'multiproc'
import { decode, encode, prepare } from '#src/serialize/codec.js'
import { assertSame, roundTrip, seed, withHoles } from './round-trip.js'

const shared = { shared: true }
const samples: unknown[] = [
  1,
  'text',
  { a: 1, b: [1, 2, 3], c: 'x'.repeat(100), d: null },
  [shared, shared, new Map([[1, shared]]), new Set(['a', shared])],
  Array.from({ length: 40 }, (_, i) => ({
    i,
    name: `n${i}`,
    kind: ['a', 'b'][i % 2],
    x: i / 3,
    nested: { i },
  })),
  Array.from({ length: 40 }, (_, i) => [i, `t${i}`, shared]),
  [new Date(0), /a/g, 5n, Object(1), new URL('http://a/'), Symbol.for('x'), new TextDecoder()],
  [new Error('x', { cause: new TypeError('y') }), new DOMException('a', 'AbortError')],
  [new Float64Array(5), new ArrayBuffer(9), Buffer.from('abc'), new DataView(new ArrayBuffer(3))],
  Object.assign(withHoles([1, 2, 3], 1), { named: 1 }),
  Array.from({ length: 30 }, (_, i) => `漢${i}`),
  Array.from({ length: 40 }, (_, i) => 2 ** 40 + i * i),
  Array.from({ length: 300 }, (_, i) => [[[[i]]]]).reduce<unknown>((inner, row) => [inner, row], 0),
  (() => {
    const buffer = new ArrayBuffer(8)
    return [new Uint8Array(buffer), new Uint16Array(buffer)]
  })(),
]

/** A small generator of our own, so that a seed replays the same bytes in every version of everything. */
function random(start: number): () => number {
  let state = start | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A value or a SerializeError, in reasonable time and memory. */
function survives(bytes: Uint8Array): void {
  const before = process.memoryUsage().arrayBuffers
  const started = performance.now()
  try {
    void prepare(bytes)
    decode(bytes)
  } catch (error) {
    if (!(error instanceof SerializeError) || error.code !== 'ERR_NOT_DESERIALIZABLE') {
      throw new Error(`Bytes ${Buffer.from(bytes).toString('hex')}`, { cause: error })
    }
  }
  assert.ok(performance.now() - started < 5000, Buffer.from(bytes).toString('hex'))
  assert.ok(process.memoryUsage().arrayBuffers - before < 2 ** 28, Buffer.from(bytes).toString('hex'))
}

test('decode() of a message cut at any byte throws SerializeError', () => {
  for (const sample of samples) {
    const bytes = encode(sample)
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => decode(bytes.slice(0, length)), { code: 'ERR_NOT_DESERIALIZABLE' })
    }
  }
})

test('decode() of a message with something behind it throws SerializeError', () => {
  for (const sample of samples) {
    const bytes = encode(sample)
    assert.throws(() => decode(Buffer.concat([bytes, Buffer.from([0])])), { code: 'ERR_NOT_DESERIALIZABLE' })
  }
})

test('decode() survives every change of every single byte', () => {
  for (const sample of samples) {
    const bytes = encode(sample).slice(0, 400)
    for (let at = 0; at < bytes.length; at++) {
      const original = bytes[at]!
      for (const value of [
        0,
        1,
        12,
        19,
        23,
        48,
        64,
        127,
        128,
        252,
        253,
        254,
        255,
        original ^ 1,
        original ^ 128,
      ]) {
        bytes[at] = value
        survives(bytes)
      }
      bytes[at] = original
    }
  }
})

test('decode() survives random changes of many bytes', () => {
  const next = random(seed())
  const frames = samples.map(sample => encode(sample))
  for (let round = 0; round < 20_000; round++) {
    const bytes = frames[Math.floor(next() * frames.length)]!.slice()
    for (let changes = 1 + Math.floor(next() * 6); changes > 0; changes--) {
      bytes[2 + Math.floor(next() * (bytes.length - 2))] = Math.floor(next() * 256)
    }
    if (next() < 0.2) bytes[1] = Math.floor(next() * 8)
    survives(bytes)
  }
})

test('decode() survives random bytes', () => {
  const next = random(seed())
  for (let round = 0; round < 50_000; round++) {
    const bytes = new Uint8Array(2 + Math.floor(next() * 60))
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(next() * (next() < 0.5 ? 256 : 64))
    bytes[0] = 1
    bytes[1] = Math.floor(next() * 8)
    survives(bytes)
  }
})

test('decode() allocates nothing for a count that the bytes cannot hold', () => {
  const huge = [0xfd, 0xff, 0xff, 0xff, 0x7f]
  for (let tag = 0; tag < 64; tag++) {
    for (const middle of [[], [0], [1], [6], [9]]) {
      survives(new Uint8Array([1, 0, tag, ...middle, ...huge, 9, 0, 0, 0, 0, 0, 0, 0]))
      survives(new Uint8Array([1, 2, tag, ...huge, ...middle, ...huge, 1, 2, 3]))
    }
  }
})

test('decode() of nesting without end is an error, not a crash', () => {
  for (const opening of [[16, 0, 1], [22], [24, 1], [25, 1], [15, 64], [28], [48, 1, 9, 0, 0]]) {
    const bytes = Buffer.alloc(2 + opening.length * 200_000)
    bytes[0] = 1
    for (let i = 2; i < bytes.length; i++) bytes[i] = opening[(i - 2) % opening.length]!
    survives(bytes)
  }
})

test('decode() of another format version names both', () => {
  assert.throws(() => decode(new Uint8Array([9, 0, 0])), /format is 9, 1 is expected/)
})

test('decode() of a bad message leaves the next one well', () => {
  const good = encode(samples[4])
  const bad = good.slice()
  bad[bad.length >> 1]! ^= 0xff
  for (let i = 0; i < 50; i++) {
    survives(bad)
    assertSame(decode(good), samples[4])
  }
  assertSame(roundTrip(samples[2]), samples[2])
})
