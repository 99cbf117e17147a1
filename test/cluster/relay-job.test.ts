/** A chunk of another machine in the pool of an agent: each item has one outcome, in the order of the items. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Answer, RelayJob } from '#src/cluster/relay-job.js'
import type { ShippedFunction } from '#src/pool/function-table.js'
import { contextOf } from '#src/pool/chunk-context.js'
import { type Part, firstPart } from '#src/pool/job.js'
import type { ChunkHead } from '#src/pool/protocol.js'

const task = { name: 'task' } as ShippedFunction
const body = { bytes: new Uint8Array([1]) }
const result = { isPacked: false, bodies: [body], count: 1, elapsedMs: 2 }

function relayed(
  given: Partial<ChunkHead> = {},
  bodies = [body],
): { job: RelayJob; ends: (Answer[] | undefined)[] } {
  const head: ChunkHead = {
    type: 'chunk',
    bodies: 1,
    chunkId: 7,
    functionId: 3,
    mode: 'item',
    count: 3,
    isPacked: true,
    first: 100,
    ...given,
  }
  const ends: (Answer[] | undefined)[] = []
  const onEnd = (answers: Answer[] | undefined): void => void ends.push(answers)
  return { job: new RelayJob({ task, head, bodies, onEnd, onReport: () => {} }), ends }
}

const typesOf = (answers: Answer[] | undefined): string[] | undefined =>
  answers?.map(({ message }) => message.type)

describe('a chunk of another machine', () => {
  test('brings what travels with its calls, for any of its items that run together', () => {
    const [first, third] = [[1], [3]].map(bytes => ({ bytes: new Uint8Array(bytes) }))
    const { job } = relayed(
      {
        bodies: 3,
        count: 4,
        contexts: [
          [2, null, true],
          [1, { trace: 'a' }, false],
          [1, null, true],
        ],
      },
      [body, first!, third!],
    )
    assert.equal(job.hasContext, true)
    const { packed } = job.take()!
    assert.equal(packed, body)
    const all = firstPart(job, { first: 100, count: 4 })
    assert.deepEqual(contextOf({ parts: [all] }).stores, [first, third])
    const middle = firstPart(job, { first: 101, count: 2 })
    assert.deepEqual(contextOf({ parts: [middle] }), {
      contexts: [
        [1, null, true],
        [1, { trace: 'a' }, false],
      ],
      stores: [first],
    })
    const last = firstPart(job, { first: 103, count: 1 })
    assert.deepEqual(contextOf({ parts: [middle, last] }).stores, [first, third])
  })

  test('is taken whole, once, with the indexes that its map knows', () => {
    const { job } = relayed()
    const part = job.take()!
    assert.deepEqual([part.first, part.count, part.packed], [100, 3, body])
    assert.equal(job.take(), undefined)
    assert.equal(job.remaining, 0)
  })

  test('ends once all items have an outcome, in their order, with places within the chunk', () => {
    const { job, ends } = relayed()
    job.take()
    job.received(102, result)
    job.died(100, new Error('dead'))
    assert.equal(ends.length, 0)
    job.failed(101, { body, elapsedMs: 3 })
    assert.deepEqual(typesOf(ends[0]), ['died', 'failure', 'results'])
    const [, failure, results] = ends[0]!.map(({ message }) => message)
    assert.equal((failure as { index: number }).index, 1)
    assert.equal((results as { first: number }).first, 2)
    assert.equal(job.elapsedMs, 5)
    assert.equal(job.isDone, true)
  })

  test('says of a time-out first, and still has an outcome for the item', () => {
    const { job, ends } = relayed({ count: 1 })
    job.take()
    job.timedOut(100, new Error('late'))
    assert.equal(ends.length, 0)
    job.died(100, new Error('killed for it'))
    assert.deepEqual(typesOf(ends[0]), ['timedOut', 'died'])
  })

  test('gives back what was not run, with the number of workers that died of it', () => {
    const { job, ends } = relayed()
    const part = job.take()!
    job.received(100, result)
    job.again([{ ...part, first: 101, count: 2, isSolo: true, deaths: 2 } satisfies Part])
    const [, again] = ends[0]!
    assert.deepEqual(again!.message, {
      type: 'again',
      bodies: 0,
      chunkId: 7,
      count: 2,
      isSolo: true,
      deaths: 2,
    })
  })

  test('is given back whole while no worker has it, and no worker gets it after that', () => {
    const { job, ends } = relayed()
    assert.equal(job.isUntouched, true)
    job.withdraw({ deaths: 2 })
    const again = { type: 'again', bodies: 0, chunkId: 7, count: 3, isSolo: false, deaths: 2 }
    assert.deepEqual(
      ends[0]!.map(({ message }) => message),
      [again],
    )
    assert.deepEqual([job.isUntouched, job.take()], [false, undefined])
    const { job: taken } = relayed()
    taken.take()
    assert.equal(taken.isUntouched, false)
  })

  test('has no answer when it was called off, and whatever comes later means nothing', () => {
    const { job, ends } = relayed()
    job.take()
    job.cancel('why')
    job.received(100, { ...result, count: 3 })
    assert.deepEqual(ends, [undefined])
    assert.equal(job.isCalledOff(100), true)
  })

  test('of several calls knows which of them were called off', () => {
    const { first: _, ...single } = { first: 0, count: 3 }
    const { job } = relayed({ ...single, first: 0 })
    job.noteCalledOff([1])
    assert.deepEqual(
      [0, 1, 2].map(index => job.isCalledOff(index)),
      [false, true, false],
    )
  })

  test('is refused whole when its function cannot be loaded', () => {
    const { job, ends } = relayed()
    job.take()
    job.refused('unloadable', body)
    assert.deepEqual(ends[0]![0]!.message, { type: 'unloadable', bodies: 1, chunkId: 7, functionId: 3 })
  })
})
