import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect, types } from 'node:util'
import vm from 'node:vm'
import * as fc from 'fast-check'
import { decode, encode } from '#src/serialize/codec.js'
import { assertSame, roundTrip, seed, withHoles } from './round-trip.js'

const longText = 'The quick brown fox. '.repeat(5000)

const values: Record<string, unknown> = {
  null: null,
  undefined: undefined,
  true: true,
  false: false,
  zero: 0,
  'minus zero': -0,
  NaN: Number.NaN,
  infinity: Number.POSITIVE_INFINITY,
  'minus infinity': Number.NEGATIVE_INFINITY,
  'one-byte integers': [0, 127, 128, 255, 256, -1, -128, -129],
  'the edges of 32 bits': [2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1],
  'the largest safe integer': Number.MAX_SAFE_INTEGER,
  'the smallest double': Number.MIN_VALUE,
  'the largest double': Number.MAX_VALUE,
  bigints: [0n, 1n, -1n, 2n ** 64n, -(2n ** 200n)],
  'empty text': '',
  ...Object.fromEntries(
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 31, 62, 63, 64, 65, 250, 251, 252, 253, 70_000].map(length => [
      `text of ${length} characters`,
      'é'.repeat(length),
    ]),
  ),
  'long text': longText,
  'text beyond Latin-1': 'Ω€漢字😀',
  'long text beyond Latin-1': '😀'.repeat(50_000),
  'lone surrogates': ['\ud800', 'x\udc00y', '\udc00\ud800'.repeat(100)],
  'text with NUL': 'a\0b',
  'registered symbol': Symbol.for('multiproc.test'),
  'well-known symbols': [Symbol.iterator, Symbol.asyncIterator, Symbol.toStringTag],
  'empty array': [],
  'nested arrays': [[], [[]], [[[1]]]],
  'empty object': {},
  'object with numeric keys': { 10: 'a', 2: 'b', x: 1 },
  'object with an empty key': { '': 1 },
  'object with odd keys': {
    'two words': 1,
    漢字: 2,
    'a"b': 3,
    "a'b\\": 4,
    toString: 5,
    constructor: 6,
    valueOf: 7,
  },
  'object with many keys': Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`key ${i}`, i])),
  'object with long keys': { ['k'.repeat(100)]: 1, ['κ'.repeat(100)]: 2 },
  'object without a prototype': Object.assign(Object.create(null) as object, { a: 1, toString: 2 }),
  'undefined in an object': { a: undefined, b: null },
  'array with holes': withHoles([0, 1, 0, 0, 'x', 0], 0, 2, 3, 5),
  'array of holes only': withHoles([0, 0, 0], 0, 1, 2),
  'array with named properties': Object.assign([1, 2], { named: true }),
  'long array with named properties': Object.assign(
    Array.from({ length: 100 }, (_, i) => i),
    { named: { deep: [1] } },
  ),
  'match of a regular expression': /b(?<name>.)/.exec('abc'),
  'array with a hole and a name': Object.assign(withHoles([1, 2, 3], 1), { named: 1 }),
  'empty array with names': Object.assign([], { a: 1 }),
  'empty map': new Map(),
  map: new Map<unknown, unknown>([
    [1, 'one'],
    ['two', { n: 2 }],
    [Number.NaN, -0],
    [{ key: true }, [1]],
  ]),
  set: new Set<unknown>([1, 'two', { three: 3 }, [4], Number.NaN]),
  'map in a map': new Map([[1, new Map([[2, new Set([3])]])]]),
  date: new Date(1_234_567_890_123),
  'date before 1970': new Date(-1),
  'regular expression': /a\/b[c"]/giu,
  'empty regular expression': new RegExp(''),
  'boxed values': [Object(1), Object('text'), Object(true), Object(5n), Object(Symbol.iterator)],
  'array buffer': new Uint8Array([1, 2, 3]).buffer,
  'empty array buffer': new ArrayBuffer(0),
  'data view': new DataView(new Uint8Array([1, 2, 3, 4]).buffer),
  'typed arrays': [
    new Int8Array([-1, 2]),
    new Uint8Array([1, 255]),
    new Uint8ClampedArray([1, 255]),
    new Int16Array([-1, 2]),
    new Uint16Array([1, 65_535]),
    new Int32Array([-1, 2]),
    new Uint32Array([1, 2 ** 32 - 1]),
    new Float32Array([1.5, -0]),
    new Float64Array([1.1, Number.NaN, -0]),
    new BigInt64Array([-1n]),
    new BigUint64Array([2n ** 64n - 1n]),
  ],
  'empty typed array': new Float64Array(0),
  buffer: Buffer.from('bytes'),
  'large buffer': Buffer.alloc(300_000, 'abc'),
  url: new URL('https://user:pass@example.org:8080/path?q=1#h'),
  'url search parameters': new URLSearchParams('a=1&b=2&a=3'),
  errors: [new Error('a'), new TypeError('b'), new RangeError('c', { cause: 'd' })],
  'a bit of everything': {
    id: 7,
    name: 'task',
    when: new Date(0),
    tags: new Set(['a', 'b']),
    nested: { list: [1, 'x', null, { y: [true, false] }], map: new Map([['k', new Uint8Array(3)]]) },
  },
}

for (const [name, value] of Object.entries(values)) {
  test(`decode(encode()) gives back: ${name}`, () => assertSame(roundTrip(value), value))
  test(`decode(encode()) gives back, in an array and an object: ${name}`, () => {
    const message = { first: [value, 1], second: value }
    assertSame(roundTrip(message), message)
  })
}

test('decode() keeps an invalid date invalid', () => {
  const date = roundTrip(new Date(Number.NaN))
  assert.ok(types.isDate(date) && Number.isNaN(date.getTime()))
})

test('decode() keeps the lastIndex of a regular expression', () => {
  const pattern = /a/g
  pattern.lastIndex = 5
  assert.equal(roundTrip(pattern).lastIndex, 5)
})

test('decode() makes "__proto__" a property and never a prototype', () => {
  const hostile = JSON.parse('{"__proto__": {"polluted": true}, "a": 1}') as object
  for (const result of [
    roundTrip(hostile),
    ...roundTrip(Array.from({ length: 200 }, () => ({ ...hostile }))),
  ]) {
    assert.equal(Object.getPrototypeOf(result), Object.prototype)
  }
  const single = roundTrip(hostile)
  assert.deepEqual(Object.keys(single), ['__proto__', 'a'])
  const rows = roundTrip(
    Array.from({ length: 200 }, () => JSON.parse('{"__proto__": {"polluted": true}}') as object),
  )
  for (const row of rows) {
    assert.equal(Object.getPrototypeOf(row), Object.prototype)
    assert.ok(Object.hasOwn(row, '__proto__'))
  }
  assert.equal(({} as { polluted?: boolean }).polluted, undefined)
})

test('decode() gives a Buffer as a Buffer and does not keep the frame alive for it', () => {
  const result = roundTrip({ big: 'x'.repeat(1_000_000), small: Buffer.from('abc') }).small
  assert.ok(Buffer.isBuffer(result))
  assert.ok(result.buffer.byteLength < 100_000)
})

test('encode() sends no other bytes of the pool that a Buffer comes from', () => {
  const secret = Buffer.from('the secret of somebody else')
  const mine = Buffer.from('mine')
  assert.equal(mine.buffer, secret.buffer, 'both come from the pool')
  assert.equal(Buffer.from(encode({ a: mine, b: Buffer.from('other') })).indexOf('secret'), -1)
})

test('a 64 MB Buffer travels without a copy beyond frame and result', () => {
  const bytes = 64 * 1024 * 1024
  const source = Buffer.alloc(bytes, 7)
  const before = process.memoryUsage().arrayBuffers
  const frame = encode(source)
  const result = decode(frame) as Buffer
  const grown = process.memoryUsage().arrayBuffers - before
  assert.equal(result.length, bytes)
  assert.equal(Buffer.compare(result, source), 0)
  assert.ok(grown < bytes * 2.2, `grew by ${grown} bytes`)
})

test('Float16Array travels where the runtime has it', t => {
  const constructor = (globalThis as unknown as { Float16Array?: new (items: number[]) => Uint16Array })
    .Float16Array
  if (constructor === undefined) {
    t.skip('this version of Node has no Float16Array')
    return
  }
  const result = roundTrip(new constructor([1.5, -0]))
  assert.ok(result instanceof constructor)
  assert.equal(result[0], 1.5)
})

test('a resizable ArrayBuffer keeps its limit, and views that follow its length go on following', () => {
  const Resizable = ArrayBuffer as unknown as new (
    length: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resizable: boolean; maxByteLength: number; resize(length: number): void }
  const buffer = new Resizable(8, { maxByteLength: 64 })
  const result = roundTrip({ buffer, follows: new Uint8Array(buffer), fixed: new Uint8Array(buffer, 0, 8) })
  assert.equal(result.buffer.maxByteLength, 64)
  assert.ok(result.buffer.resizable)
  result.buffer.resize(16)
  assert.equal(result.follows.length, 16)
  assert.equal(result.fixed.length, 8)
  assert.equal(buffer.byteLength, 8, 'the original has its length')
})

test('a TextDecoder keeps its encoding and its options, a TextEncoder works', () => {
  const decoder = roundTrip(new TextDecoder('utf-16le', { fatal: true, ignoreBOM: true }))
  assert.deepEqual([decoder.encoding, decoder.fatal, decoder.ignoreBOM], ['utf-16le', true, true])
  assert.deepEqual(roundTrip(new TextEncoder()).encode('a'), new Uint8Array([97]))
})

test('a DOMException keeps its name, message, code and stack', () => {
  const exception = new DOMException('not now', 'AbortError')
  const result = roundTrip(exception)
  assert.ok(result instanceof DOMException)
  assert.deepEqual(
    [result.name, result.message, result.code, result.stack],
    ['AbortError', 'not now', 20, exception.stack],
  )
})

test('objects of another realm arrive as those of this one', () => {
  const foreign = vm.runInNewContext(
    '({ list: [1, 2], map: new Map([[1, 2]]), date: new Date(5), error: new TypeError("t"), bytes: new Uint8Array(2) })',
  ) as Record<string, unknown>
  const result = roundTrip(foreign)
  assert.equal(Object.getPrototypeOf(result), Object.prototype)
  assert.deepStrictEqual(result['list'], [1, 2])
  assert.deepStrictEqual(result['map'], new Map([[1, 2]]))
  assert.deepStrictEqual(result['date'], new Date(5))
  assert.deepStrictEqual(result['bytes'], new Uint8Array(2))
  assert.ok(result['error'] instanceof TypeError)
})

test('a huge sparse array takes few bytes and comes back sparse', () => {
  const sparse: unknown[] = []
  sparse[4_000_000_000] = 'far'
  sparse[5] = { near: true }
  const bytes = encode(sparse)
  assert.ok(bytes.length < 100)
  assertSame(decode(bytes), sparse)
})

test('10,000 nested arrays, objects and a linked list of 20,000 nodes need no deep stack', () => {
  let arrays: unknown[] = []
  let objects: Record<string, unknown> = {}
  for (let i = 0; i < 10_000; i++) {
    arrays = [arrays, i]
    objects = { i, inner: objects }
  }
  let depth = 0
  for (let at = roundTrip(arrays); at.length > 0; at = at[0] as unknown[]) {
    if (depth > 0 && depth % 1000 === 0) assert.equal(at[1], 9999 - depth)
    depth++
  }
  assert.equal(depth, 10_000)
  depth = 0
  for (let at = roundTrip(objects); at['inner'] !== undefined; at = at['inner'] as Record<string, unknown>)
    depth++
  assert.equal(depth, 10_000)

  interface Node {
    value: number
    next?: Node
    previous?: Node
  }
  const head: Node = { value: 0 }
  for (let i = 1, at = head; i < 20_000; i++) {
    at.next = { value: i, previous: at }
    at = at.next
  }
  let count = 1
  for (let at = roundTrip(head); at.next !== undefined; at = at.next) {
    assert.equal(at.next.previous, at)
    assert.equal(at.value, count - 1)
    count++
  }
  assert.equal(count, 20_000)
})

test('what nests too deeply for a stack is a clear error, and the next message is well', () => {
  let nested: unknown = 1
  for (let i = 0; i < 10_000; i++) nested = new Map([[1, nested]])
  assert.throws(() => encode(nested, { rootName: 'argument 0' }), {
    code: 'ERR_NOT_SERIALIZABLE',
    path: ['argument 0'],
  })
  assertSame(roundTrip({ a: [1] }), { a: [1] })
})

test('encode() called with little stack left fails clearly or works', () => {
  let outcomes = 0
  const dig = (): void => {
    try {
      dig()
    } catch {
      // The stack has just overflowed: here is next to nothing left of it.
    }
    try {
      roundTrip({ a: [{ b: [{ c: 1 }] }] })
      outcomes++
    } catch (error) {
      if (error instanceof Error && 'code' in error) outcomes++
    }
  }
  dig()
  assert.ok(outcomes > 0)
  assertSame(roundTrip({ a: [{ b: 1 }] }), { a: [{ b: 1 }] })
})

test('finished messages are never changed by later ones', () => {
  const messages = Array.from({ length: 500 }, (_, i) => ({
    i,
    text: 'x'.repeat(i * 7),
    list: Array.from({ length: i }),
  }))
  const frames = messages.map(message => encode(message))
  frames.forEach((frame, i) => assertSame(decode(frame), messages[i]))
})

const anything = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withTypedArray: true,
  withSparseArray: true,
  withNullPrototype: true,
  withUnicodeString: true,
  withBoxedValues: true,
})

test('decode(encode(x)) equals x for arbitrary values', () => {
  fc.assert(
    fc.property(anything, value => {
      // On Node.js 20 two of them are not even equal to each other; they have a test of their own above.
      fc.pre(!inspect(value, { depth: Infinity }).includes('Invalid Date'))
      assertSame(roundTrip(value), value)
    }),
    { seed: seed(), numRuns: 2000 },
  )
})

test('decode(encode(x)) equals x for arbitrary arrays of alike values', () => {
  const alike = fc.oneof(
    fc.array(fc.double(), { maxLength: 200 }),
    fc.array(fc.integer(), { maxLength: 200 }),
    fc.array(fc.integer({ min: -200, max: 300 }), { maxLength: 200 }),
    fc.array(fc.string({ unit: 'binary', maxLength: 300 }), { maxLength: 100 }),
    fc.array(fc.constantFrom('a', 'bb', 'ccc', '😀'), { maxLength: 100 }),
    fc.array(fc.record({ a: fc.double(), b: fc.string(), c: anything, d: fc.boolean() }), { maxLength: 100 }),
    fc.array(fc.tuple(fc.integer(), anything), { maxLength: 100 }),
  )
  fc.assert(
    fc.property(alike, value => assertSame(roundTrip(value), value)),
    { seed: seed(), numRuns: 1000 },
  )
})
