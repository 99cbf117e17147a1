import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pool, Process } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

forEachStartMethod(context => {
  test('a large view is sent by its bytes, to a process and beside what only a graph can carry', async () => {
    const large = Buffer.alloc(20_000_000, 1)
    const child = new Process({ target: (bytes: Uint8Array) => bytes.length, args: [large], context })
    child.start()
    assert.equal(await child.result(), large.length)
    await child.join()
    await using pool = new Pool({ processes: 1, context })
    const lastOf = (bytes: Uint8Array, frozen: object) => [bytes.at(-1), Object.isFrozen(frozen)]
    assert.deepEqual(await pool.apply(lastOf, [large, Object.freeze({})]), [1, true])
  })

  test('a long view keeps the fields that it has besides its elements', async () => {
    const marked = Object.assign(new Float64Array(10_000), { unit: 'm' })
    await using pool = new Pool({ processes: 1, context })
    const unitOf = (values: typeof marked, frozen: object) => [values.unit, Object.isFrozen(frozen)]
    assert.deepEqual(await pool.apply(unitOf, [marked, Object.freeze({})]), ['m', true])
  })
})
