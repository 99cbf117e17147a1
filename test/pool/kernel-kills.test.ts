/** Which deaths are put down to the kernel, on a fake count. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KernelKills } from '#src/pool/kernel-kills.js'

test('a kill that was counted before a worker started is not taken for its own', () => {
  let kills: number | undefined = 3
  const kernel = new KernelKills(() => kills)
  const first = kernel.count()
  // Somebody else is killed; nobody of this pool dies.
  kills = 4
  const second = kernel.count()
  assert.equal(kernel.claim(second), false)
  assert.equal(kernel.claim(first), true)
})

test('each kill is put down to one worker, also when two die before either is looked at', () => {
  let kills = 0
  const kernel = new KernelKills(() => kills)
  const starts = [kernel.count(), kernel.count(), kernel.count()]
  kills = 2
  assert.deepEqual(
    starts.map(start => kernel.claim(start)),
    [true, true, false],
  )
  kills = 3
  assert.equal(kernel.claim(starts[2]), true)
})

test('a kill that nobody claimed is not kept for a worker that starts afterwards', () => {
  let kills = 0
  const kernel = new KernelKills(() => kills)
  const old = kernel.count()
  kills = 5
  const young = kernel.count()
  kills = 6
  assert.equal(kernel.claim(young), true)
  assert.equal(kernel.claim(young), false)
  assert.equal(kernel.claim(old), false)
})

test('nothing is put down to a kernel that does not count, or did not when the worker started', () => {
  let kills: number | undefined
  const kernel = new KernelKills(() => kills)
  const start = kernel.count()
  assert.equal(kernel.claim(start), false)
  kills = 1
  assert.equal(kernel.claim(start), false)
})
