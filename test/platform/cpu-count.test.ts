import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
import { cpuCount } from 'multiproc'
import { cgroupCpuQuota } from '#src/platform/cpu-count.js'

/** A machine with these files and no others. */
function quotaWith(files: Record<string, string>): number | undefined {
  return cgroupCpuQuota(path => files[path])
}

test('C015 cpuCount() is an integer from 1 to the CPUs of the machine', () => {
  const count = cpuCount()
  assert.ok(Number.isInteger(count) && count >= 1 && count <= availableParallelism())
})

test('cgroupCpuQuota() is undefined without control groups and without a limit', () => {
  assert.equal(quotaWith({}), undefined)
  assert.equal(quotaWith({ '/proc/self/cgroup': '0::/\n' }), undefined)
  assert.equal(
    quotaWith({ '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/cpu.max': 'max 100000\n' }),
    undefined,
  )
})

test('cgroupCpuQuota() reads version 2: the strictest of the group and its ancestors', () => {
  const files = {
    '/proc/self/cgroup': '0::/kubepods/pod1/container\n',
    '/sys/fs/cgroup/kubepods/pod1/container/cpu.max': 'max 100000\n',
    '/sys/fs/cgroup/kubepods/pod1/cpu.max': '150000 100000\n',
    '/sys/fs/cgroup/kubepods/cpu.max': '800000 100000\n',
  }
  assert.equal(quotaWith(files), 1.5)
})

test('cgroupCpuQuota() finds the limit of a container that sees only its own root', () => {
  const files = { '/proc/self/cgroup': '0::/docker/abc\n', '/sys/fs/cgroup/cpu.max': '50000 100000\n' }
  assert.equal(quotaWith(files), 0.5)
})

test('cgroupCpuQuota() reads version 1, under either name of its mount', () => {
  for (const mount of ['cpu,cpuacct', 'cpu']) {
    const files = {
      '/proc/self/cgroup': '9:memory:/m\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n',
      [`/sys/fs/cgroup/${mount}/docker/abc/cpu.cfs_quota_us`]: '250000\n',
      [`/sys/fs/cgroup/${mount}/docker/abc/cpu.cfs_period_us`]: '100000\n',
      [`/sys/fs/cgroup/${mount}/cpu.cfs_quota_us`]: '-1\n',
      [`/sys/fs/cgroup/${mount}/cpu.cfs_period_us`]: '100000\n',
    }
    assert.equal(quotaWith(files), 2.5)
  }
})

test('cgroupCpuQuota() survives files that say something else', () => {
  for (const text of ['', 'max', '0 0', 'x y', '100000']) {
    assert.equal(quotaWith({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': text }), undefined)
  }
  assert.equal(quotaWith({ '/proc/self/cgroup': 'nonsense\n\n:::\n' }), undefined)
})
