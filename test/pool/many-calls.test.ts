/** Calls of apply() that wait together and travel together: each has its own outcome all the same. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pool, WorkerDiedError } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const COUNT = 2000

/** Values of all kinds that the codec treats differently, and that a pool may encode at the call or later. */
const argumentsOf = (index: number): unknown[] =>
  [
    [],
    [index],
    [-0, Number.NaN],
    ['text', index / 3],
    [null, undefined, true],
    [{ index, nested: [index] }],
    ['x'.repeat(5000)],
    [[index, index + 1]],
    [10n ** 20n],
    [new Date(index)],
  ][index % 10]!

forEachStartMethod(context => {
  test('many calls at once give each its own result, whatever their arguments are', async () => {
    await using pool = new Pool({ processes: 2, context })
    const echo = (...values: unknown[]): unknown => values
    const results = Array.from({ length: COUNT }, (_, index) => pool.apply(echo, argumentsOf(index)))
    for (const [index, result] of results.entries()) assert.deepEqual(await result, argumentsOf(index))
  })

  test('arguments that are changed right after the call were copied', async () => {
    await using pool = new Pool({ processes: 1, context })
    const given: [number, { deep: number }] = [0, { deep: 0 }]
    const results = Array.from({ length: 100 }, (_, index) => {
      given[0] = index
      given[1].deep = index
      return [
        pool.apply((x: number) => x, [given[0]]),
        pool.apply((x: number, { deep }: { deep: number }) => [x, deep], given),
      ] as const
    })
    given.length = 0 as never
    for (const [index, [first, second]] of results.entries()) {
      assert.deepEqual([await first, await second], [index, [index, index]])
    }
  })

  test('of many calls those that throw fail, with the place where they were called', async () => {
    await using pool = new Pool({ processes: 2, context })
    const task = (x: number): number => {
      if (x % 100 === 50) throw new RangeError(`it is ${x}`)
      return x
    }
    const results = Array.from({ length: COUNT }, (_, index) => pool.apply(task, [index]))
    for (const [index, result] of results.entries()) {
      if (index % 100 !== 50) {
        assert.equal(await result, index)
        continue
      }
      const thrown = await result.catch((error: unknown) => error)
      assert.ok(thrown instanceof RangeError && thrown.message === `it is ${index}`)
      assert.match(thrown.stack!, /many-calls\.test/)
    }
  })

  test('of many calls one that ends its worker fails alone', async () => {
    await using pool = new Pool({ processes: 2, context })
    const task = (x: number): number => {
      if (x === 1234) process.exit(3)
      return x
    }
    const settled = await Promise.allSettled(
      Array.from({ length: COUNT }, (_, index) => pool.apply(task, [index])),
    )
    for (const [index, outcome] of settled.entries()) {
      if (index !== 1234) assert.deepEqual(outcome, { status: 'fulfilled', value: index })
      else assert.ok(outcome.status === 'rejected' && outcome.reason instanceof WorkerDiedError)
    }
  })

  test('of many calls those that are called off reject, and the others run', async () => {
    await using pool = new Pool({ processes: 1, context })
    const results = Array.from({ length: COUNT }, (_, index) => pool.apply((x: number) => x, [index]))
    const isCancelled = (index: number): boolean => index % 3 === 1
    for (const [index, result] of results.entries()) if (isCancelled(index)) assert.ok(result.cancel())
    for (const [index, result] of results.entries()) {
      if (isCancelled(index)) await assert.rejects(async () => result, { name: 'AbortError' })
      else assert.equal(await result, index)
      assert.equal(result.cancel(), false)
    }
  })
})
