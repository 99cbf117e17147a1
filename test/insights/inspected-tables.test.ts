import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addInspectedTable, inspectedTables } from '#src/insights/inspected-tables.js'

test('inspectedTables() gives what was added, bounded, until it is removed', () => {
  const rows = Array.from({ length: 1000 }, (_, index) => [`m${index}`, 'x'.repeat(1000), 'too many'])
  const remove = addInspectedTable(() => ({ title: 'Machines', columns: ['name', 'note'], rows }))
  const removeNone = addInspectedTable(() => undefined)
  const [table, ...others] = inspectedTables()
  assert.deepEqual(others, [])
  assert.deepEqual([table!.title, table!.rows.length, table!.rows[7]![0]], ['Machines', 200, 'm7'])
  assert.ok(table!.rows.every(row => row.length === 2 && row[1]!.length === 200))
  remove()
  removeNone()
  assert.deepEqual(inspectedTables(), [])
})

test('a table that cannot be read says so, and the others are there', () => {
  const removes = [
    addInspectedTable(() => {
      throw new Error('gone')
    }),
    addInspectedTable(() => ({ title: 'Leases', columns: ['key'], rows: [['a']] })),
  ]
  const [broken, leases] = inspectedTables()
  assert.match(broken!.rows[0]![0]!, /gone/)
  assert.deepEqual(leases!.rows, [['a']])
  for (const remove of removes) remove()
})
