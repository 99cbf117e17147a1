import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { gatherFrames } from '#src/transport/frame-format.js'
import { FrameReader } from '#src/transport/frame-reader.js'

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)

function readAll(reader: FrameReader, chunks: Iterable<Buffer>): Buffer[] {
  const frames: Buffer[] = []
  for (const chunk of chunks) reader.read(chunk, frame => frames.push(Buffer.from(frame)))
  return frames
}

function* cut(bytes: Buffer, sizes: readonly number[]): Generator<Buffer> {
  for (let offset = 0, index = 0; offset < bytes.length; index++) {
    const size = sizes[index % sizes.length]!
    yield bytes.subarray(offset, offset + size)
    offset += size
  }
}

test(`FrameReader gives the frames that were written, however the stream is cut (SEED=${seed})`, () => {
  const frame = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.integer({ min: 32_766, max: 32_770 }).map(n => new Uint8Array(n).fill(n)),
  )
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 50_000 }), { minLength: 1 }),
      (frames, sizes) => {
        const stream = Buffer.concat(gatherFrames(frames))
        const reader = new FrameReader()
        const received = readAll(reader, cut(stream, sizes))
        assert.deepEqual(
          received.map(bytes => Buffer.compare(bytes, frames[received.indexOf(bytes)]!)),
          frames.map(() => 0),
        )
        assert.equal(reader.isInsideFrame, false)
      },
    ),
    { seed },
  )
})

test('FrameReader reads a stream that comes byte by byte', () => {
  const stream = Buffer.concat(gatherFrames([Buffer.from('one'), Buffer.alloc(0), Buffer.from('three')]))
  const frames = readAll(new FrameReader(), cut(stream, [1]))
  assert.deepEqual(frames.map(String), ['one', '', 'three'])
})

test('FrameReader keeps the bytes of every frame for whoever got them', () => {
  const reader = new FrameReader()
  const [first] = readAll(reader, [Buffer.concat(gatherFrames([Buffer.from('first')]))])
  readAll(reader, [Buffer.concat(gatherFrames([Buffer.from('other')]))])
  assert.equal(String(first), 'first')
})

test('FrameReader refuses bytes that are no header', () => {
  assert.throws(() => readAll(new FrameReader(), [Buffer.from('HTTP/1.1 200 OK')]), { code: 'ERR_PROTOCOL' })
})

test('FrameReader refuses a frame beyond its limit', () => {
  const stream = Buffer.concat(gatherFrames([Buffer.alloc(11)]))
  assert.throws(() => readAll(new FrameReader({ maxFrameBytes: 10 }), [stream]), { code: 'ERR_PROTOCOL' })
  assert.equal(readAll(new FrameReader({ maxFrameBytes: 11 }), [stream]).length, 1)
})

test('FrameReader takes little memory for a length that is announced and never comes', () => {
  const header = Buffer.alloc(9)
  header.writeUInt32LE(2_000_000_000, 0)
  header.writeUInt32LE((2_000_000_000 ^ 0x5246504d) >>> 0, 4)
  const before = process.memoryUsage().arrayBuffers
  const reader = new FrameReader()
  readAll(reader, [header])
  assert.equal(reader.isInsideFrame, true)
  assert.ok(process.memoryUsage().arrayBuffers - before < 32 * 1024 * 1024)
})

test('FrameReader reads a frame of 100 MB in chunks of 64 KiB in linear time', () => {
  const body = Buffer.alloc(100_000_000, 1)
  const [header, same] = gatherFrames([body]) as [Buffer, Buffer]
  assert.equal(same, body, 'a large body is written from where it is')
  const frames = readAll(new FrameReader(), [header, ...cut(body, [65_536])])
  assert.equal(frames.length, 1)
  assert.equal(Buffer.compare(frames[0]!, body), 0)
})
