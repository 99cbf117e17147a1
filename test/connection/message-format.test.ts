/** The framing: every message whole and in order whatever the chunks are, and memory only for bytes that have arrived. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { MessageReader, messagePieces } from '#src/connection/message-format.js'

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  let offset = 0
  for (let index = 0; offset < bytes.length; index++) {
    const size = sizes.length === 0 ? bytes.length : sizes[index % sizes.length]!
    chunks.push(bytes.subarray(offset, offset + size))
    offset += size
  }
  return chunks
}

test('messages come out as they went in, however the stream is cut', () => {
  const lengths = fc.array(fc.oneof(fc.nat(20), fc.constantFrom(16_384, 16_385, 70_000, 3_000_000)), {
    maxLength: 6,
  })
  const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 65_536 })), {
    maxLength: 5,
  })
  fc.assert(
    fc.property(lengths, sizes, (lengths, sizes) => {
      const bodies = lengths.map((length, index) => Buffer.alloc(length, index + 1))
      const stream = Buffer.concat(bodies.flatMap(messagePieces))
      // Millions of chunks of a byte take long and show nothing more.
      if (stream.length > 200_000 && sizes.some(size => size < 1000)) return
      const reader = new MessageReader(3_000_000)
      const received: Buffer[] = []
      for (const chunk of cut(stream, sizes)) reader.read(chunk, message => received.push(message))
      assert.equal(reader.isInsideMessage, false)
      assert.equal(received.length, bodies.length)
      for (const [index, body] of bodies.entries()) assert.ok(received[index]!.equals(body))
    }),
    { numRuns: 200 },
  )
})

test('a message of 2 GiB and more has the long length of Python', () => {
  // Only its length is looked at, so it need not exist.
  const body = Object.defineProperty(new Uint8Array(0), 'length', { value: 2 ** 31 })
  const [header] = messagePieces(body)
  assert.equal(Buffer.from(header!).toString('hex'), 'ffffffff0000000080000000')
})

test('a long length is read as well, in whatever pieces', () => {
  const header = Buffer.from('ffffffff0000000000000003', 'hex')
  for (const sizes of [[1], [4, 8], [5], [15]]) {
    const reader = new MessageReader(10)
    const received: string[] = []
    for (const chunk of cut(Buffer.concat([header, Buffer.from('abc')]), sizes)) {
      reader.read(chunk, message => received.push(message.toString()))
    }
    assert.deepEqual(received, ['abc'])
  }
})

test('a length that is announced takes no memory before its bytes arrive', () => {
  const before = process.memoryUsage().arrayBuffers
  const readers = Array.from({ length: 64 }, () => {
    const reader = new MessageReader(2 ** 30)
    reader.read(Buffer.concat([Buffer.from('3fffffff', 'hex'), Buffer.alloc(10)]), () => {})
    return reader
  })
  assert.ok(readers.every(reader => reader.isInsideMessage))
  assert.ok(process.memoryUsage().arrayBuffers - before < 65 * 1024 * 1024 * 1.5)
})

test('lengths that are none, or beyond the limit, are errors of their own', () => {
  for (const [header, code] of [
    ['fffffffe', 'ERR_PROTOCOL'],
    ['80000000', 'ERR_PROTOCOL'],
    ['0000000b', 'ERR_LIMIT'],
    ['ffffffffffffffffffffffff', 'ERR_LIMIT'],
  ] as const) {
    const reader = new MessageReader(10)
    assert.throws(() => reader.read(Buffer.from(header, 'hex'), () => {}), { code })
  }
})
