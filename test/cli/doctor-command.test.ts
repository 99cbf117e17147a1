import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cpuCount, getAllStartMethods } from 'multiproc'
import { nativeStatus } from '#src/platform/native-addon.js'
import { cpuListLength, resourceLimit } from '#src/platform/machine-facts.js'
import { runCommand } from './run-command.js'

test('doctor starts a worker of every kind and says that it answered', async () => {
  const { code, stdout, stderr } = await runCommand(['doctor'])
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  assert.match(stdout, /^Worker process +start method "spawn": first answer after \d+ ms, then [\d.]+ ms$/m)
  assert.match(stdout, /^Worker thread +start method "thread": first answer after \d+ ms, then [\d.]+ ms$/m)
  assert.match(stdout, /^Closures +yes/m)
  assert.match(stdout, new RegExp(`^CPUs +${cpuCount()} usable`, 'm'))
})

test('doctor says whether the native addon is used, and why not', async () => {
  const { stdout } = await runCommand(['doctor'])
  const status = nativeStatus()
  assert.match(stdout, status.isOn ? /^Native addon +used, from .*\.node$/m : /^Native addon +not used: /m)
  assert.match(stdout, status.isOn ? /^Transport +shared memory/m : /^Transport +sockets/m)
  const { stdout: without } = await runCommand(['doctor'], { env: { MULTIPROC_NATIVE: '0' } })
  assert.match(without, /^Native addon +not used: MULTIPROC_NATIVE is 0$/m)
  assert.match(without, /^Locks, queues +in the process that makes them/m)
})

test('doctor --json gives the same as data', async () => {
  const { code, stdout } = await runCommand(['doctor', '--json'])
  assert.equal(code, 0)
  const facts = JSON.parse(stdout) as {
    node: string
    machine: { cpus: { usable: number }; memory: { machine: number } }
    workers: { method: string; firstAnswerMs: number; hasClosures: boolean }[]
  }
  assert.equal(facts.node, process.versions.node)
  assert.equal(facts.machine.cpus.usable, cpuCount())
  assert.ok(facts.machine.memory.machine > 0)
  assert.deepEqual(
    facts.workers.map(({ method }) => method),
    getAllStartMethods(),
  )
  for (const worker of facts.workers) assert.ok(worker.firstAnswerMs > 0 && worker.hasClosures)
})

test('resourceLimit() reads both limits of a row', () => {
  const limits = [
    'Limit                     Soft Limit           Hard Limit           Units     ',
    'Max processes             96365                unlimited            processes ',
    'Max open files            1024                 4096                 files     ',
  ].join('\n')
  assert.deepEqual(resourceLimit(limits, 'Max open files'), { soft: 1024, hard: 4096 })
  assert.deepEqual(resourceLimit(limits, 'Max processes'), { soft: 96365, hard: 'unlimited' })
  assert.equal(resourceLimit(limits, 'Max locks'), undefined)
})

test('cpuListLength() counts ranges and single numbers', () => {
  assert.equal(cpuListLength('0-3,8'), 5)
  assert.equal(cpuListLength('7'), 1)
})
