/** The objects of a server, and when one is let go of. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ObjectTable, type Served } from '#src/managers/object-table.js'
import { LEASES_MAX, LEASE_MS } from '#src/managers/protocol.js'

function tableWith(): { table: ObjectTable; gone: number[]; add: () => Served } {
  const gone: number[] = []
  const table = new ObjectTable(served => gone.push(served.id))
  const type = { typeId: 'thing' }
  const add = (): Served => table.add({ typeId: 'thing', type, object: {}, exposed: new Set() })
  return { table, gone, add }
}

test('An object goes with the last client and lease, whichever comes last', () => {
  const { table, gone, add } = tableWith()
  const served = add()
  table.use(served)
  table.lease(served, 1)
  table.drop(served)
  assert.deepEqual(gone, [])
  table.arrived(1)
  assert.deepEqual(gone, [served.id])
  assert.equal(table.get(served.id), undefined)
})

test('A lease that its receiver has ended before the word of its sender came holds nothing', () => {
  const { table, gone, add } = tableWith()
  const served = add()
  table.use(served)
  table.arrived(7)
  table.lease(served, 7)
  table.drop(served)
  assert.deepEqual(gone, [served.id])
})

test('A lease ends after 5 minutes, and the oldest of too many at once', () => {
  const { table, gone, add } = tableWith()
  const [first, second] = [add(), add()]
  table.lease(first, 0)
  table.endOverdue(performance.now() + LEASE_MS - 1000)
  assert.deepEqual(gone, [])
  for (let lease = 1; lease <= LEASES_MAX; lease++) table.lease(second, lease)
  assert.deepEqual(gone, [first.id])
  table.endOverdue(performance.now() + LEASE_MS + 1)
  assert.deepEqual(gone, [first.id, second.id])
  table.clear()
})

test('An object that is held in the server itself is held weakly once no client has it', () => {
  const { table, gone, add } = tableWith()
  const served = add()
  table.use(served)
  assert.equal(table.hold(served.id), served)
  table.drop(served)
  assert.deepEqual(gone, [])
  assert.equal(table.get(served.id), served)
  // A client gets it again.
  table.use(served)
  table.drop(served)
  assert.equal(table.size, 1)
  table.clear()
  assert.deepEqual(gone, [served.id])
})
