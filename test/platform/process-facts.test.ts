import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import {
  isRunnable,
  killsOfGroup,
  outOfMemoryKills,
  processIdentity,
  residentBytes,
} from '#src/platform/process-facts.js'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

const isLinux = process.platform === 'linux'

describe('facts about a process', { skip: !isLinux }, () => {
  test('residentBytes() is about what the process says itself', () => {
    const ratio = residentBytes(process.pid)! / process.memoryUsage.rss()
    assert.ok(ratio > 0.5 && ratio < 2, String(ratio))
  })

  test('isRunnable() is true for one that computes and false for one that is stopped', async () => {
    const child = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' })
    await eventually(() => isRunnable(child.pid!) === true)
    child.kill('SIGSTOP')
    await eventually(() => isRunnable(child.pid!) === false)
    child.kill('SIGKILL')
    await once(child, 'exit')
    assert.equal(isRunnable(child.pid!), undefined)
    assert.equal(residentBytes(child.pid!), undefined)
  })

  test('outOfMemoryKills() is a count', () => {
    assert.ok(outOfMemoryKills()! >= 0)
  })
})

test('processIdentity() is the same as long as a process runs, and undefined afterwards', async () => {
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const identity = processIdentity(child.pid!)
  assert.match(identity!, isLinux ? new RegExp(`^${child.pid}@\\d+$`) : new RegExp(`^${child.pid}$`))
  assert.notEqual(identity, processIdentity(process.pid))
  assert.equal(processIdentity(child.pid!), identity)
  child.stdin.end()
  await once(child, 'exit')
  assert.equal(processIdentity(child.pid!), undefined)
})

test('killsOfGroup() reads the files of both kinds of control groups, and gives undefined without any', () => {
  const reading =
    (files: Record<string, string>) =>
    (path: string): string | undefined =>
      files[path]
  const events = 'low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\n'
  assert.equal(
    killsOfGroup(reading({ '/proc/self/cgroup': '0::/a/b\n', '/sys/fs/cgroup/a/b/memory.events': events })),
    2,
  )
  assert.equal(
    killsOfGroup(reading({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.events': events })),
    2,
  )
  const control = 'oom_kill_disable 0\nunder_oom 0\noom_kill 5\n'
  assert.equal(killsOfGroup(reading({ '/sys/fs/cgroup/memory/memory.oom_control': control })), 5)
  assert.equal(killsOfGroup(reading({})), undefined)
})
