/** What calls say about options that they do not have: above all to who writes them as in Python. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Lock, Pool, Queue } from 'multiproc'
import { assertKnownOptions } from '#src/platform/known-options.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const refused = (message: RegExp): object => ({ name: 'TypeError', code: 'ERR_INVALID_ARGUMENT', message })

test('an option that is spelt as in Python is told apart from one that is not there', () => {
  const known = ['maxWorkers', 'initArgs']
  assertKnownOptions('It', { maxWorkers: 1, initArgs: [] }, known)
  for (const [given, meant] of [
    ['max_workers', 'maxWorkers'],
    ['maxworkers', 'maxWorkers'],
    ['initargs', 'initArgs'],
  ]) {
    assert.throws(
      () => assertKnownOptions('It', { [given!]: 1 }, known),
      refused(new RegExp(`^It has no option "${given}"\nTo fix: write "${meant}"$`)),
    )
  }
  assert.throws(
    () => assertKnownOptions('It', { workers: 1 }, known),
    refused(/^It has no option "workers"\nTo fix: use one of "maxWorkers", "initArgs"$/),
  )
  assert.throws(() => new Pool({ maxtasksperchild: 1 } as never), refused(/write "maxTasksPerChild"/))
})

test('an array is no options', () => {
  assert.throws(() => assertKnownOptions('It', [1], ['one']), refused(/they are an array\n/))
  assert.throws(() => assertKnownOptions('It', [], ['one']), refused(/they are an array\n/))
})

test('acquire(False) and get(timeout) of Python are told how they are written here', async () => {
  using queue = new Queue()
  const lock = new Lock()
  await assert.rejects(lock.acquire(false as never), refused(/pass { timeout: 0 }, which does not wait$/))
  await assert.rejects(lock.acquire(5 as never), refused(/pass { timeout: 5 }, in milliseconds$/))
  await assert.rejects(queue.get(false as never), refused(/pass { timeout: 0 }, which does not wait$/))
  await assert.rejects(queue.get(5 as never), refused(/pass { timeout: 5 }, in milliseconds$/))
  await assert.rejects(queue.get({ time_out: 5 } as never), refused(/write "timeout"/))
})
