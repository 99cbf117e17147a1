/** wait() where others take what it waits for. What Python's wait() promises is in pipe-python.test.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Queue, wait } from 'multiproc'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

test('wait() goes on when somebody else has taken the item, until there is another', async () => {
  using queue = new Queue<number>()
  const waiting = wait([queue])
  let isOver = false
  void waiting.then(() => (isOver = true))
  for (let round = 0; round < 3; round++) {
    await turn()
    queue.putSync(round)
    assert.equal(queue.getSync(), round)
    await turn()
    assert.equal(isOver, false)
  }
  queue.putSync(3)
  assert.deepEqual(await waiting, [queue])
})

test('wait() does not begin its timeout again when somebody else has taken the item', async () => {
  using queue = new Queue<number>()
  const begin = performance.now()
  const waiting = wait([queue], { timeout: 300 })
  const isOver = waiting.then(() => true)
  // The items never stop coming, and are never there.
  do {
    queue.putSync(1)
    queue.getSync()
  } while (!(await Promise.race([isOver, turn().then(() => false)])))
  assert.deepEqual(await waiting, [])
  assert.ok(performance.now() - begin >= 299)
})
