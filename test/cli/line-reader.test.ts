import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { readLines } from '#src/cli/line-reader.js'

async function linesOf(chunks: Iterable<Uint8Array>): Promise<string[]> {
  const lines: string[] = []
  async function* stream(): AsyncGenerator<Uint8Array> {
    yield* chunks
  }
  for await (const line of readLines(stream())) lines.push(line)
  return lines
}

test('readLines() gives the same lines, wherever the bytes are cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: 'grapheme' }).map(text => text.replaceAll(/[\r\n]/g, ''))),
      fc.constantFrom('\n', '\r\n'),
      fc.integer({ min: 1, max: 7 }),
      async (lines, end, size) => {
        const bytes = Buffer.from(lines.map(line => line + end).join(''))
        const chunks: Uint8Array[] = []
        for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size))
        assert.deepEqual(await linesOf(chunks), lines)
      },
    ),
  )
})

test('readLines() gives a last line that has no end, and no empty one behind the last end', async () => {
  assert.deepEqual(await linesOf([Buffer.from('a\n\nb')]), ['a', '', 'b'])
  assert.deepEqual(await linesOf([Buffer.from('a\n')]), ['a'])
  assert.deepEqual(await linesOf([]), [])
})

test('readLines() refuses a line that never ends', async () => {
  const chunk = Buffer.alloc(1 << 20, 'x')
  function* endless(): Generator<Uint8Array> {
    for (;;) yield chunk
  }
  await assert.rejects(linesOf(endless()), { name: 'RangeError', message: /a line is longer/ })
})
