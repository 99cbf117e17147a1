/** The behaviours that CPython's own tests of barriers check, by the names of those tests (class _TestBarrier). */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Barrier, Pipe, Semaphore } from 'multiproc'
import { checkLeaks, eventually } from '../leak-check.js'
import { sharingMethods, start } from './heap-children.js'
import { failAtBarrier, passBarrier, passBarrierSync } from './tasks.js'

checkLeaks()

const BROKEN = { code: 'ERR_BROKEN_BARRIER' }
const PARTIES = 5

const sorted = (numbers: number[]): number[] => numbers.toSorted((a, b) => a - b)

const passing: [form: string, task: (barrier: Barrier, times: number) => number[] | Promise<number[]>][] = [
  ['async', passBarrier],
  ['blocking', passBarrierSync],
]

test('C073 test_single_thread: a barrier of one never blocks', async () => {
  const barrier = new Barrier(1)
  assert.equal(await barrier.wait(), 0)
  assert.equal(await barrier.wait(), 0)
  assert.equal(barrier.waitSync(), 0)
  for (const [parties, error] of [
    [0, RangeError],
    [1.5, RangeError],
    ['2', TypeError],
  ] as const) {
    assert.throws(() => new Barrier(parties as number), error)
  }
})

for (const method of sharingMethods) {
  describe(method, () => {
    for (const [form, task] of passing) {
      for (const [name, times] of [
        ['C064 test_barrier', 1],
        ['C065 test_barrier_10', 10],
      ] as const) {
        test(`${name}: five parties pass in lockstep, each with a number of its own (${form})`, async () => {
          const barrier = new Barrier(PARTIES)
          const children = Array.from({ length: PARTIES }, () => start(method, task, barrier, times))
          const indexes: number[][] = []
          for (const child of children) indexes.push(await child.result())
          for (let time = 0; time < times; time++) {
            assert.deepEqual(sorted(indexes.map(each => each[time]!)), [0, 1, 2, 3, 4])
          }
          for (const child of children) await child.join()
          assert.equal(barrier.nWaiting, 0)
          assert.equal(barrier.isBroken, false)
        })
      }
    }

    test('test_wait_return and test_action: one party runs the action, before anybody goes on', async () => {
      const actions = new Semaphore(0)
      const barrier = new Barrier(3, { action: () => actions.release() })
      const target = async (there: Barrier, count: Semaphore): Promise<[number, number]> => [
        await there.wait(),
        count.getValue(),
      ]
      const children = [0, 1].map(() => start(method, target, barrier, actions))
      const results = [await target(barrier, actions)]
      for (const child of children) results.push(await child.result())
      assert.deepEqual(sorted(results.map(([index]) => index)), [0, 1, 2])
      assert.deepEqual(
        results.map(([, count]) => count),
        [1, 1, 1],
      )
      for (const child of children) await child.join()
    })

    test('test_thousand: parties stay in lockstep for many passes', async () => {
      const barrier = new Barrier(2)
      const [reader, writer] = Pipe<number>({ duplex: false })
      const target = async (there: Barrier, passes: number): Promise<void> => {
        for (let pass = 0; pass < passes; pass++) {
          await there.wait()
          await writer.send(pass)
        }
      }
      const children = [0, 1].map(() => start(method, target, barrier, 200))
      for (let pass = 0; pass < 200; pass++) {
        assert.deepEqual([await reader.recv(), await reader.recv()], [pass, pass])
      }
      for (const child of children) await child.join()
      reader.close()
      writer.close()
    })

    test('C068 test_abort: abort() breaks the barrier for all who wait', async () => {
      const barrier = new Barrier(PARTIES)
      const children = [1, 2, 3, 4].map(() => start(method, failAtBarrier, barrier))
      await eventually(() => barrier.nWaiting === PARTIES - 1)
      barrier.abort()
      for (const child of children) assert.equal(await child.result(), BROKEN.code)
      for (const child of children) await child.join()
      assert.equal(barrier.isBroken, true)
      await assert.rejects(barrier.wait(), BROKEN)
    })

    test('C069 test_reset and C070 test_abort_and_reset: reset() frees those who wait, and mends the barrier', async () => {
      const barrier = new Barrier(PARTIES)
      for (const isAborted of [false, true]) {
        const early = [1, 2, 3, 4].map(() => start(method, failAtBarrier, barrier))
        await eventually(() => barrier.nWaiting === PARTIES - 1)
        if (isAborted) barrier.abort()
        else barrier.reset()
        for (const child of early) assert.equal(await child.result(), BROKEN.code)
        barrier.reset()
        assert.equal(barrier.isBroken, false)
        const late = [1, 2, 3, 4].map(() => start(method, passBarrier, barrier, 2))
        await passBarrier(barrier, 2)
        for (const child of [...early, ...late]) await child.join()
        assert.equal(barrier.nWaiting, 0)
      }
    })

    test('C071 test_timeout and C072 test_default_timeout: a late party breaks the barrier for all', async () => {
      for (const barrier of [new Barrier(3, { timeout: 20 }), new Barrier(3)]) {
        const timeout = barrier.options.timeout === undefined ? 20 : undefined
        const children = [1, 2].map(() => start(method, failAtBarrier, barrier, timeout))
        for (const child of children) assert.equal(await child.result(), BROKEN.code)
        for (const child of children) await child.join()
        await assert.rejects(barrier.wait(), BROKEN)
      }
    })
  })
}
