import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type End, deathReason, poisoned, workerDied } from '#src/pool/death-report.js'
import type { ShippedFunction } from '#src/pool/function-table.js'
import { type Job, firstPart } from '#src/pool/job.js'
import { StderrTail } from '#src/pool/stderr-tail.js'

const end = (given: Partial<End>): End => ({
  status: { exitCode: null, signal: 'SIGKILL' },
  cause: undefined,
  stderr: '',
  memoryBytes: undefined,
  isFrozen: false,
  isKernelShort: false,
  ...given,
})
const fullHeap =
  'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n 1: 0xb7 [node]\n'

test('deathReason() tells what ended a worker', () => {
  const coded = (code: string): Error => Object.assign(new Error(code), { code })
  const cases: [Partial<End>, string | undefined][] = [
    [{}, 'killed'],
    [{ isKernelShort: true }, 'outOfMemory'],
    [{ isFrozen: true }, 'frozen'],
    [{ status: { exitCode: null, signal: 'SIGTERM' } }, 'killed'],
    [{ status: { exitCode: null, signal: 'SIGSEGV' } }, 'crash'],
    [{ status: { exitCode: null, signal: 'SIGABRT' } }, 'crash'],
    [{ status: { exitCode: null, signal: 'SIGABRT' }, stderr: fullHeap }, 'outOfMemory'],
    [{ status: { exitCode: null, signal: 'SIGTRAP' }, stderr: fullHeap }, 'outOfMemory'],
    [{ status: { exitCode: 134, signal: null }, stderr: fullHeap }, 'outOfMemory'],
    [{ status: { exitCode: 0xc0000005, signal: null } }, 'crash'],
    [{ status: { exitCode: 0, signal: null } }, 'exit'],
    [{ status: { exitCode: 1, signal: null }, cause: new Error('left behind') }, 'uncaughtError'],
    [{ status: { exitCode: 1, signal: null, error: coded('ERR_WORKER_OUT_OF_MEMORY') } }, 'outOfMemory'],
    [{ status: { exitCode: 0, signal: null, error: coded('ERR_PROTOCOL') } }, 'channel'],
    [{ status: { exitCode: null, signal: null } }, undefined],
  ]
  for (const [given, reason] of cases) assert.equal(deathReason(end(given)), reason, JSON.stringify(given))
})

describe('the error of a death', () => {
  const task = { name: 'resize' } as ShippedFunction
  const job = { isSingle: false, caller: {} } as Job
  const part = firstPart(job, { first: 7, count: 1 })
  const worker = { name: 'PoolWorker-2', pid: 4711 }

  test('has all facts as fields, and what matters in its message', () => {
    const lines = ['one', 'two', 'three', 'four', 'five', 'six'].map(line => `${line}\n`).join('')
    const error = workerDied(worker, { task, part, end: end({ stderr: lines, memoryBytes: 3 << 20 }) })
    const { pid, workerName, exitCode, signal, taskName, taskIndex, deaths, memoryBytes } = error
    assert.deepEqual(
      { pid, workerName, exitCode, signal, taskName, taskIndex, deaths, memoryBytes },
      {
        pid: 4711,
        workerName: 'PoolWorker-2',
        exitCode: null,
        signal: 'SIGKILL',
        taskName: 'resize',
        taskIndex: 7,
        deaths: 1,
        memoryBytes: 3 << 20,
      },
    )
    assert.equal(error.stderr, lines)
    const [what, fix, heading, ...shown] = error.message.split('\n')
    assert.equal(
      what,
      'The worker PoolWorker-2 (pid 4711) was killed by SIGKILL while it ran "resize" (item 7); it had 3 MiB of memory when last seen',
    )
    assert.match(fix!, /^To fix: /)
    assert.equal(heading, 'Its last lines on stderr:')
    assert.deepEqual(shown, ['  two', '  three', '  four', '  five', '  six'])
  })

  test('picks the one line of the report of a full heap that says something', () => {
    const abort = end({ status: { exitCode: null, signal: 'SIGABRT' }, stderr: fullHeap })
    assert.equal(
      workerDied(worker, { task, part, end: abort }).message.split('\n').at(-1),
      `  ${fullHeap.split('\n')[0]}`,
    )
  })

  test('of a poisoned item says how many workers it cost', () => {
    const error = poisoned(worker, { task, part: { ...part, kills: 2 }, end: end({}) })
    assert.deepEqual([error.code, error.deaths], ['ERR_POISONED_ITEM', 3])
    assert.match(error.message, /^Item 7 of "resize" is not run again, because 3 workers died of it/)
    assert.match(error.message, /\nTo fix: /)
  })
})

describe('StderrTail', () => {
  test('keeps whole last lines, and no more than 8 KiB of whatever is written', () => {
    const tail = new StderrTail()
    tail.add(Buffer.from('first\n'))
    assert.equal(tail.text, 'first\n')
    for (let line = 0; line < 10_000; line++) tail.add(Buffer.from(`line ${line}\n`))
    assert.ok(tail.text.length <= 8192 && tail.text.length > 8000)
    assert.ok(tail.text.startsWith('line '))
    assert.ok(tail.text.endsWith('line 9999\n'))
    tail.add(Buffer.alloc(1 << 20, 'x'))
    assert.equal(tail.text, 'x'.repeat(8192))
  })
})
