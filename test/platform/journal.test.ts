import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Journal, JournalWriter, journalSizeBytes } from '#src/platform/journal.js'
import { sharedHeap } from '#src/platform/shared-heap.js'

const kinds: Record<string, () => { journal: Journal; writer: JournalWriter }> = {
  file: () => {
    const journal = Journal.inFile()!
    return { journal, writer: JournalWriter.overFile(journal.fd!) }
  },
  memory: () => {
    const journal = Journal.inMemory()
    return { journal, writer: JournalWriter.overMemory(journal.memory!) }
  },
}
if (sharedHeap().isNative) {
  Object.assign(kinds, {
    segment: () => {
      const journal = Journal.inSegment()
      return { journal, writer: JournalWriter.overMemory(journal.segment!.buffer) }
    },
  })
}
const bytes = (text: string): Uint8Array => Buffer.from(text)
const texts = (finished: ReadonlyMap<number, Uint8Array>): [number, string][] =>
  [...finished].map(([index, result]) => [index, Buffer.from(result).toString()])

for (const [kind, open] of Object.entries(kinds)) {
  describe(`a journal in ${kind}`, () => {
    test('says nothing before the first mark', () => {
      const { journal } = open()
      assert.equal(journal.read(), undefined)
      journal.close()
    })

    test('tells the item that was marked last and the results written before', () => {
      const { journal, writer } = open()
      writer.start(7, 0, 1)
      writer.finish(7, 0, bytes('zero'))
      writer.start(7, 1, 1)
      writer.finish(7, 1, bytes(''))
      writer.start(7, 2, 64)
      const entry = journal.read()!
      assert.deepEqual([entry.chunkId, entry.startedIndex, entry.startedCount], [7, 2, 64])
      assert.deepEqual(texts(entry.finished), [
        [0, 'zero'],
        [1, ''],
      ])
      journal.close()
    })

    test('tells a result that was written after the last mark', () => {
      const { journal, writer } = open()
      writer.start(7, 0, 1)
      writer.finish(7, 0, bytes('zero'))
      assert.deepEqual(texts(journal.read()!.finished), [[0, 'zero']])
      journal.close()
    })

    test('does not take an old record for a new one after clear()', () => {
      const { journal, writer } = open()
      writer.start(1, 0, 1)
      writer.finish(1, 0, bytes('old'))
      writer.clear()
      writer.start(1, 1, 1)
      assert.deepEqual(texts(journal.read()!.finished), [])
      writer.clear()
      writer.start(2, 0, 1)
      assert.deepEqual(texts(journal.read()!.finished), [])
      journal.close()
    })

    test('refuses a result that does not fit, and stays readable', () => {
      const { journal, writer } = open()
      writer.start(1, 0, 1)
      assert.equal(writer.finish(1, 0, new Uint8Array(journalSizeBytes)), false)
      assert.equal(writer.finish(1, 0, bytes('small')), true)
      writer.start(1, 1, 1)
      assert.deepEqual(texts(journal.read()!.finished), [[0, 'small']])
      journal.close()
    })

    test('survives garbage', () => {
      for (let round = 0; round < 200; round++) {
        const { journal, writer } = open()
        writer.start(1, 0xffffffff * Math.random(), 0xffffffff * Math.random())
        writer.finish(1, 0, Buffer.from(Array.from({ length: 64 }, () => Math.random() * 256)))
        writer.start(0xffffffff * Math.random(), 0, 1)
        journal.read()
        journal.close()
      }
    })
  })
}
