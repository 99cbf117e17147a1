import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { Journal, JournalWriter, journalSizeBytes, monotonicMs } from '#src/platform/journal.js'
import { eventually } from '../leak-check.js'
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

    test('shows what runs, since when, and that nothing runs', () => {
      const { journal, writer } = open()
      assert.equal(journal.running(), undefined)
      const before = monotonicMs()
      writer.begin(3, 5, 1)
      const run = journal.running()!
      assert.deepEqual([run.chunkId, run.startedIndex, run.startedCount], [3, 5, 1])
      assert.ok(run.startedAtMs >= before && run.startedAtMs <= monotonicMs())
      writer.begin(3, 6, 0)
      assert.equal(journal.running()!.startedCount, 0)
      journal.close()
    })

    test('keeps simple results from one mark to the next, and forgets those before keepFrom()', () => {
      const { journal, writer } = open()
      writer.keepFrom(0)
      const values = [1.5, -0, Number.NaN, undefined, null, true, false]
      for (const [index, value] of values.entries()) {
        writer.start(1, index, 1)
        assert.equal(writer.keep(index, value), writer.isMemory)
      }
      writer.start(1, values.length, 1)
      assert.equal(writer.keep(values.length, 'text'), false)
      writer.start(1, values.length + 1, 1)
      const kept = writer.isMemory ? [...values.entries()] : []
      assert.deepEqual([...journal.read()!.kept], kept)
      writer.keepFrom(9)
      writer.start(1, 12, 1)
      assert.deepEqual([...journal.read()!.kept], [])
      journal.close()
    })

    test('tells an item that has ended without an outcome, until that is safe', () => {
      const { journal, writer } = open()
      writer.start(1, 4, 1)
      writer.markEnded(1, 4)
      assert.deepEqual([journal.read()!.endedIndex, journal.running()!.startedCount], [4, 0])
      writer.clearEnded()
      writer.start(1, 5, 1)
      assert.equal(journal.read()!.endedIndex, undefined)
      journal.close()
    })

    test('tells the results of the chunk before', () => {
      const { journal, writer } = open()
      writer.start(1, 0, 1)
      writer.finish(1, 0, bytes('one'))
      writer.start(1, 1, 1)
      writer.finish(1, 1, bytes('two'))
      writer.start(2, 0, 1)
      const { earlier, finished } = journal.read()!
      assert.deepEqual(texts(earlier.get(1)!), [
        [0, 'one'],
        [1, 'two'],
      ])
      assert.equal(finished.size, 0)
      journal.close()
    })

    test('carries the number of the message that must be read, and the memory of the worker', () => {
      const { journal, writer } = open()
      assert.equal(journal.memoryBytes(), undefined)
      writer.tellMemory(123_456_789)
      writer.start(1, 0, 1)
      assert.equal(journal.memoryBytes(), 123_456_789)
      journal.notice(7)
      writer.look()
      assert.equal(writer.notice, 7)
      // What the worker writes leaves what its parent wrote alone.
      writer.begin(1, 1, 1)
      writer.finish(1, 1, bytes('result'))
      assert.equal(writer.notice, 7)
      assert.deepEqual(texts(journal.read()!.finished), [[1, 'result']])
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

test(
  'a journal does not read what another one left in the same memory',
  { skip: !sharedHeap().isNative },
  () => {
    for (let round = 0; round < 3; round++) {
      const journal = Journal.inSegment()
      const writer = JournalWriter.overMemory(journal.segment!.buffer)
      // All workers number their chunks alike.
      writer.start(1, 0, 1)
      assert.deepEqual(texts(journal.read()!.finished), [])
      writer.finish(1, 0, bytes(`result of round ${round}`))
      journal.close()
    }
  },
)

test('a held worker starts nothing until it is let go', async () => {
  const journal = Journal.inMemory()
  journal.hold(true)
  const thread = new Worker(
    `const { workerData, parentPort } = require('node:worker_threads')
     import(workerData.module).then(({ JournalWriter }) => {
       const writer = JournalWriter.overMemory(workerData.memory)
       parentPort.postMessage('begins')
       writer.begin(1, 4, 1)
       Atomics.add(new Int32Array(workerData.flag), 0, 1)
       parentPort.postMessage('began')
     })`,
    {
      eval: true,
      workerData: {
        module: new URL('../../../dist/platform/journal.js', import.meta.url).href,
        memory: journal.memory,
        flag: new SharedArrayBuffer(4),
      },
    },
  )
  // Listened for from the start: the last message and the end of the thread may be told in the same turn.
  const exit = once(thread, 'exit')
  await once(thread, 'message')
  // It marks first and asks then, so the mark can be seen although it does not go on.
  await eventually(() => journal.running()?.startedIndex === 4)
  const began = once(thread, 'message')
  journal.hold(false)
  assert.deepEqual(await began, ['began'])
  await exit
  journal.close()
})
