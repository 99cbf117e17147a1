/** The heads of chunks and results as words: what goes in comes out, and everything else is left to the codec. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expectTypeOf } from 'expect-type'
import * as fc from 'fast-check'
import { bodyInside, frequentFrame, frequentHead } from '#src/pool/frequent-heads.js'
import type { ChunkHead, FromWorker, ResultsHead, ToWorker } from '#src/pool/protocol.js'
import { encode } from '#src/serialize/codec.js'

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
const word = fc.nat({ max: 2 ** 32 - 1 })

const chunk: fc.Arbitrary<ChunkHead> = fc.record(
  {
    type: fc.constant('chunk' as const),
    bodies: fc.nat({ max: 1000 }),
    chunkId: word,
    functionId: word,
    mode: fc.constantFrom('item' as const, 'arguments' as const),
    count: word,
    isPacked: fc.boolean(),
    first: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    isExact: fc.constant(true as const),
    wantsReports: fc.constant(true as const),
    isRelayed: fc.constant(true as const),
  },
  { requiredKeys: ['type', 'bodies', 'chunkId', 'functionId', 'mode', 'count', 'isPacked'] },
)

const results: fc.Arbitrary<ResultsHead> = fc.record({
  type: fc.constant('results' as const),
  bodies: fc.nat({ max: 1000 }),
  chunkId: word,
  first: word,
  count: word,
  isPacked: fc.boolean(),
  elapsedMs: fc.double({ noNaN: true, min: 0 }),
})

const body = fc.option(fc.uint8Array({ maxLength: 100 }), { nil: undefined })

test(`a head comes out as it went in, with its body, at whatever address its frame begins (SEED=${seed})`, () => {
  fc.assert(
    fc.property(fc.oneof(chunk, results), body, fc.nat({ max: 7 }), (head, inside, offset) => {
      const written = frequentFrame(head, inside)
      assert.ok(written)
      const frame = new Uint8Array(new ArrayBuffer(offset + written.length), offset)
      frame.set(written)
      assert.deepEqual({ ...frequentHead(frame) }, { ...head })
      const read = bodyInside(frame)
      assert.deepEqual(read && [...read], inside && [...inside])
    }),
    { seed },
  )
})

test('a frame that was made first does not change when the next one is', () => {
  const head: ResultsHead = {
    type: 'results',
    bodies: 1,
    chunkId: 1,
    first: 0,
    count: 1,
    isPacked: true,
    elapsedMs: 1,
  }
  const first = frequentFrame(head, undefined)!
  frequentFrame({ ...head, chunkId: 2, elapsedMs: 2 }, undefined)
  assert.deepEqual(frequentHead(first), head)
})

test('heads that say more, or numbers that are too large, are left to the codec', () => {
  const plain: ChunkHead = {
    type: 'chunk',
    bodies: 1,
    chunkId: 1,
    functionId: 1,
    mode: 'item',
    count: 1,
    isPacked: true,
  }
  const others: (ToWorker | FromWorker)[] = [
    { ...plain, indexes: [1, 3] },
    { ...plain, contexts: [[1, null, false]] },
    { ...plain, name: 'square' },
    { ...plain, times: 'each' },
    { ...plain, attempt: 2 },
    { ...plain, chunkId: 2 ** 32 },
    { ...plain, functionId: 2 ** 32 },
    { type: 'stop', bodies: 0 },
  ]
  for (const head of others) {
    assert.equal(frequentFrame(head, undefined), undefined)
    assert.equal(frequentHead(encode(head)), undefined)
  }
})

test('a frame that is cut short is no head', () => {
  const frame = frequentFrame(
    { type: 'results', bodies: 1, chunkId: 1, first: 0, count: 1, isPacked: true, elapsedMs: 1 },
    undefined,
  )!
  for (let length = 0; length < frame.length; length++) {
    assert.equal(frequentHead(frame.subarray(0, length)), undefined)
  }
})

test('every field of both heads is either a word or a flag, or leaves the head to the codec', () => {
  type Written = 'type' | 'bodies' | 'chunkId' | 'count' | 'isPacked' | 'first'
  type OfChunk = 'functionId' | 'mode' | 'isExact' | 'wantsReports' | 'isRelayed'
  type LeftToCodec =
    | 'indexes'
    | 'contexts'
    | 'attempt'
    | 'name'
    | 'times'
    | 'elsewhere'
    | 'resources'
    | 'bundles'
  expectTypeOf<keyof ChunkHead>().toEqualTypeOf<Written | OfChunk | LeftToCodec>()
  expectTypeOf<keyof ResultsHead>().toEqualTypeOf<Written | 'elapsedMs'>()
})
