/** What those who inspect a program are told of its queues. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspectedTables } from '#src/insights/inspected-tables.js'
import { JoinableQueue, Process, Queue, SimpleQueue } from 'multiproc'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

/** Without the number in the name of each. */
function rows(): string[][] {
  const [table] = inspectedTables().filter(({ title }) => title.startsWith('Queues'))
  return (table?.rows ?? []).map(([name, ...rest]) => [name!.replace(/ \d+$/, ''), ...rest])
}

test('the table of queues has those that are open, with their items and who waits', async () => {
  assert.deepEqual(rows(), [])
  const orders = new Queue<number>({ maxSize: 2 })
  const logs = new JoinableQueue<string>()
  const signs = new SimpleQueue<boolean>()
  await orders.putMany([1, 2])
  await logs.put('started')
  const third = orders.put(3)
  const sign = signs.get()
  // A wait is counted a turn of the event loop after it has begun.
  await eventually(() => rows()[0]![4] === '1' && rows()[2]![3] === '1')
  assert.deepEqual(rows(), [
    ['Queue', '2', '2', '0', '1'],
    ['JoinableQueue', '1', 'no limit', '0', '0'],
    ['SimpleQueue', '0', 'no limit', '1', '0'],
  ])
  assert.equal(await orders.get(), 1)
  await third
  await signs.put(true)
  await sign
  await eventually(() => rows()[0]![4] === '0' && rows()[2]![3] === '0')
  signs.close()
  logs.close()
  assert.deepEqual(rows(), [['Queue', '2', '2', '0', '0']])
  orders.close()
  assert.deepEqual(rows(), [])
})

test('the table of queues counts a child that waits, and shows a queue once that two processes have', async () => {
  const orders = new Queue<string>()
  const child = new Process({ target: (queue: Queue<string>) => queue.get(), args: [orders] })
  child.start()
  await eventually(() => rows()[0]![3] === '1')
  assert.deepEqual(rows(), [['Queue', '0', 'no limit', '1', '0']])
  await orders.put('done')
  await child.join()
  assert.deepEqual(rows(), [['Queue', '0', 'no limit', '0', '0']])
  orders.close()
})

test('the table of queues forgets many that were closed, and shows a hundred of those that are open', () => {
  const open: Queue[] = []
  for (let count = 0; count < 1000; count++) {
    const queue = new Queue()
    if (count % 5 === 0) open.push(queue)
    else queue.close()
  }
  const [table] = inspectedTables()
  assert.equal(table!.title, 'Queues, the first 100 of 200')
  assert.equal(table!.rows.length, 100)
  for (const queue of open) queue.close()
  assert.deepEqual(inspectedTables(), [])
})
