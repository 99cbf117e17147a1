/** The failures that a program keeps for those who look at it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Pool } from 'multiproc'
import { type TaskFailure, failureLog } from '#src/pool/failure-log.js'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

function refuse(item: number): never {
  throw new RangeError(`no ${item}`)
}

/** What is noted while `run` runs. */
async function noted(run: () => Promise<unknown>): Promise<TaskFailure[]> {
  const before = failureLog.count
  await run()
  return failureLog.after(before)
}

forEachStartMethod(context => {
  describe('failures', () => {
    test('are noted with function, item, worker and stack, each run of an item that is repeated', async () => {
      await using pool = new Pool({ processes: 1, context, name: 'noted' })
      const failures = await noted(() => pool.mapSettled(refuse, [7], { retries: 1 }))
      assert.deepEqual(
        failures.map(each => [each.functionName, each.index, each.attempt, each.isRetried, each.pool]),
        [
          ['refuse', 0, 1, true, 'noted'],
          ['refuse', 0, 2, false, 'noted'],
        ],
      )
      const [{ errorName, message, stack, workerName }] = failures as [TaskFailure]
      assert.deepEqual([errorName, message, workerName], ['RangeError', 'no 7', 'PoolWorker-1'])
      assert.match(stack, /refuse/)
    })

    test('of an item that killed its worker, or took too long, are noted', async () => {
      await using pool = new Pool({ processes: 1, context, name: 'dying' })
      const killed = await noted(() => pool.apply(() => process.exit(3)).catch(() => {}))
      assert.deepEqual(
        killed.map(({ errorName, index }) => [errorName, index]),
        [['WorkerDiedError', undefined]],
      )
      const late = await noted(() =>
        pool.apply(() => new Promise(() => {}), [], { timeout: 20, gracePeriod: 20 }).catch(() => {}),
      )
      assert.deepEqual(
        late.map(({ errorName }) => errorName),
        ['TimeoutError'],
      )
    })

    test('of calls that were called off are not', async () => {
      await using pool = new Pool({ processes: 1, context })
      const failures = await noted(async () => {
        const call = pool.apply(() => new Promise(() => {}), [], { gracePeriod: 20 })
        call.cancel()
        await assert.rejects(async () => await call)
      })
      assert.deepEqual(failures, [])
    })
  })
})

test('an error that cannot be shown is noted without harm', async () => {
  await using pool = new Pool({ processes: 1, context: 'thread' })
  const failures = await noted(() =>
    pool
      .apply(() => {
        throw { toString: 1, valueOf: 2 } as never
      })
      .catch(() => {}),
  )
  assert.equal(failures.length, 1)
  assert.equal(typeof failures[0]!.message, 'string')
})

// The last one: what comes within a quarter of a second behind a flood is only counted.
test('a flood of failures is counted, and a few of them are kept', async () => {
  await using pool = new Pool({ processes: 1, context: 'thread' })
  const before = failureLog.count
  const items = Array.from({ length: 5000 }, (_, index) => index)
  await pool.mapSettled(refuse, items)
  assert.equal(failureLog.count - before, 5000)
  assert.ok(failureLog.after(0).length <= 100)
})
