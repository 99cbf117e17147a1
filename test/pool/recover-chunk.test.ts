import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Chunk } from '#src/pool/chunk.js'
import { type Part, firstPart } from '#src/pool/job.js'
import { loadingFunction, recoverChunk as recover } from '#src/pool/recover-chunk.js'

const task = {
  id: 1,
  name: 'task',
  body: { bytes: new Uint8Array() },
  itemMs: undefined,
  itemBytes: 0,
  version: 0,
  source: new WeakRef(() => {}),
  fatalLoads: 0,
}
// Recovery never calls the job, it only hands its parts on.
const job = { task, limits: {} } as Part['job']

function chunkOf(count: number, received = 0): Chunk {
  const items = Array.from({ length: count }, (_, index) => `item ${index}`)
  const part: Part = firstPart(job, { first: 100, count, items })
  const chunk = new Chunk(5, [part], { bodies: [], isPacked: true })
  for (const run of chunk.receive(received)) assert.equal(run.job, job)
  return chunk
}
const recoverChunk = (chunk: Chunk, entry: Parameters<typeof recover>[1]): ReturnType<typeof recover> =>
  recover(chunk, entry, { isFirst: true, isLoadGivenUp: false })
const shown = (parts: readonly Part[]): string[] =>
  parts.map(
    part =>
      `${part.first}${part.count > 1 ? `-${part.first + part.count - 1}` : ''}${part.isSolo ? ' solo' : ''}`,
  )
const journal = (
  startedIndex: number,
  startedCount: number,
  finished: number[] = [],
): Parameters<typeof recover>[1] => ({
  chunkId: 5,
  startedIndex,
  startedCount,
  finished: new Map(finished.map(index => [index, new Uint8Array([index])])),
  kept: new Map(),
  endedIndex: undefined,
  earlier: new Map(),
})

test('the item that was marked alone fails, what is before and after it goes back', () => {
  const recovery = recoverChunk(chunkOf(6), journal(2, 1))
  assert.deepEqual(recovery.failed, [2])
  assert.deepEqual(shown(recovery.back), ['100-101', '103-105'])
})

test('results that were written down are kept', () => {
  const recovery = recoverChunk(chunkOf(6), journal(3, 1, [0, 1, 2]))
  assert.deepEqual(
    recovery.finished.map(each => each.index),
    [0, 1, 2],
  )
  assert.deepEqual(recovery.failed, [3])
  assert.deepEqual(shown(recovery.back), ['104-105'])
})

test('a marked item whose result was written down has not failed', () => {
  const recovery = recoverChunk(chunkOf(4), journal(1, 1, [0, 1]))
  assert.deepEqual(recovery.failed, [])
  assert.deepEqual(shown(recovery.back), ['102-103'])
})

test('of a group of marked items each is sent again alone', () => {
  const recovery = recoverChunk(chunkOf(8), journal(2, 3))
  assert.deepEqual(recovery.failed, [])
  assert.deepEqual(shown(recovery.back), ['100-101', '102-104 solo', '105-107'])
})

test('items whose results had arrived are left alone', () => {
  const recovery = recoverChunk(chunkOf(6, 3), journal(4, 1, [0, 1, 2, 3]))
  assert.deepEqual(
    recovery.finished.map(each => each.index),
    [3],
  )
  assert.deepEqual(recovery.failed, [4])
  assert.deepEqual(shown(recovery.back), ['105'])
})

test('a chunk whose function was being loaded goes back whole, and fails when loading is given up', () => {
  const entry = journal(loadingFunction, 0)
  const recovery = recoverChunk(chunkOf(3), entry)
  assert.deepEqual([recovery.failed, shown(recovery.back)], [[], ['100-102']])
  const last = recover(chunkOf(3), entry, { isFirst: true, isLoadGivenUp: true })
  assert.deepEqual([last.failed, last.back], [[0, 1, 2], []])
})

test('a chunk that was not started goes back whole, then alone, and fails in the end', () => {
  let parts = recoverChunk(chunkOf(2), undefined).back
  assert.deepEqual(shown(parts), ['100-101'])
  parts = recoverChunk(new Chunk(5, parts, { bodies: [], isPacked: true }), undefined).back
  assert.deepEqual(shown(parts), ['100-101 solo'])
  const [first] = parts
  let single: Part[] = [{ ...first!, count: 1, items: ['item 0'] }]
  for (let deaths = 3; deaths < 4; deaths++) {
    single = recoverChunk(new Chunk(5, single, { bodies: [], isPacked: false }), undefined).back
    assert.deepEqual(shown(single), ['100 solo'])
  }
  const last = recoverChunk(new Chunk(5, single, { bodies: [], isPacked: false }), undefined)
  assert.deepEqual([last.failed, last.back], [[0], []])
})

test('a chunk that waited behind another one goes back however often its workers die', () => {
  let chunk = chunkOf(3)
  for (let deaths = 0; deaths < 10; deaths++) {
    const recovery = recover(
      chunk,
      { ...journal(0, 1)!, chunkId: 4 },
      { isFirst: false, isLoadGivenUp: false },
    )
    assert.deepEqual([shown(recovery.back), recovery.failed], [['100-102'], []])
    chunk = new Chunk(5, recovery.back, { bodies: [], isPacked: true })
  }
})

test('simple results that were kept are delivered like those that were encoded', () => {
  const recovery = recoverChunk(chunkOf(6), {
    ...journal(3, 1, [1])!,
    kept: new Map<number, unknown>([
      [0, undefined],
      [2, 2.5],
    ]),
  })
  assert.deepEqual(
    recovery.finished.map(each => ('value' in each ? [each.index, each.value] : [each.index])),
    [[0, undefined], [1], [2, 2.5]],
  )
  assert.deepEqual(recovery.failed, [3])
  assert.deepEqual(shown(recovery.back), ['104-105'])
})

test('an item that has ended and whose result was lost with the worker fails, and nothing is run twice', () => {
  const recovery = recoverChunk(chunkOf(4, 1), { ...journal(2, 0, [1])!, endedIndex: 2 })
  assert.deepEqual(recovery.failed, [2])
  assert.deepEqual(shown(recovery.back), ['103'])
})

test('results of the chunk before the one that runs are delivered', () => {
  const earlier = new Map([[5, new Map([1, 2, 4].map(index => [index, new Uint8Array([index])]))]])
  const recovery = recover(
    chunkOf(6, 2),
    { ...journal(0, 1)!, chunkId: 6, earlier },
    { isFirst: true, isLoadGivenUp: false },
  )
  assert.deepEqual(
    recovery.finished.map(each => each.index),
    [2, 4],
  )
  assert.deepEqual(shown(recovery.back), ['103', '105'])
})

test('whatever the journal says, each owed item has exactly one fate', () => {
  for (let count = 1; count <= 5; count++) {
    for (let received = 0; received < count; received++) {
      for (let startedIndex = 0; startedIndex <= count; startedIndex++) {
        for (let startedCount = 0; startedCount <= 3; startedCount++) {
          for (let finishedBits = 0; finishedBits < 1 << count; finishedBits++) {
            const finished = Array.from({ length: count }, (_, index) => index).filter(
              index => finishedBits & (1 << index),
            )
            const chunk = chunkOf(count, received)
            const recovery = recoverChunk(chunk, journal(startedIndex, startedCount, finished))
            const fates = [
              ...recovery.finished.map(each => each.index),
              ...recovery.failed,
              ...recovery.back.flatMap(part =>
                Array.from({ length: part.count }, (_, at) => part.first - 100 + at),
              ),
            ].toSorted((a, b) => a - b)
            assert.deepEqual(
              fates,
              Array.from({ length: count - received }, (_, at) => received + at),
            )
          }
        }
      }
    }
  }
})
