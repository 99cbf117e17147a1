/** Whole programs in surroundings that lack something: their directory is gone, or no descriptor is left. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { nativeAddon } from '#src/platform/native-addon.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const program = fileURLToPath(new URL('../fixtures/hostile-program.js', import.meta.url))
const isWindows = process.platform === 'win32'

/** What the program reports; it ends by itself, or the test file runs into its deadline. */
async function reportOf(what: string, { before = 'true', cwd }: { before?: string; cwd?: string } = {}) {
  const command = `${before}; exec "$0" "$1" "$2"`
  const child = spawn('/bin/sh', ['-c', command, process.execPath, program, what], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const [exitCode] = (await once(child, 'close')) as [number | null]
  assert.equal(exitCode, 0, stderr)
  return JSON.parse(stdout) as unknown
}

/** In a directory that is gone when the program begins. */
async function reportWithoutDirectory(what: string): Promise<unknown> {
  const folder = mkdtempSync(join(tmpdir(), 'multiproc-gone-'))
  try {
    return await reportOf(what, { before: `rmdir "$PWD"`, cwd: folder })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const options = { skip: isWindows && 'needs a shell, and a system that removes directories in use' }

test(
  'a program whose working directory was removed sends queues, and classes of this library, to its children',
  options,
  async () => {
    // Without the addon a thread serves the queue to processes, and no thread can start here: that has to be said.
    const expected = nativeAddon() === undefined ? { code: 'ERR_CLOSED' } : [1, 2, 3]
    assert.deepEqual(await reportWithoutDirectory('queue'), expected)
  },
)

test('a thread that cannot start because the working directory was removed says so', options, async () => {
  const report = (await reportWithoutDirectory('threads')) as Record<string, string>[]
  for (const { code, message } of report) {
    assert.equal(code, 'ERR_START_FAILED')
    assert.match(message!, /uv_cwd[\s\S]*To fix: process\.chdir\(\)/)
  }
  assert.equal(report.length, 2)
})

test(
  'start() says that the working directory is gone, and not that something else is wrong',
  options,
  async () => {
    const { code, message } = (await reportWithoutDirectory('no-executable')) as Record<string, string>
    assert.equal(code, 'ERR_START_FAILED')
    assert.match(message!, /working directory does not exist/)
  },
)

test(
  'start() names the limit of open files, when some are left but fewer than a start needs',
  options,
  async () => {
    const { code, message } = (await reportOf('few-descriptors', { before: 'ulimit -n 64' })) as Record<
      string,
      string
    >
    assert.equal(code, 'ERR_START_FAILED')
    assert.match(message!, /EMFILE[\s\S]*ulimit -n/)
  },
)

test('a worker whose tasks have taken all descriptors goes on', options, async () => {
  assert.deepEqual(await reportOf('greedy-tasks', { before: 'ulimit -n 64' }), { pids: 1, tasks: 3 })
})

test(
  'Pool.map() works where Error is frozen, so that its stackTraceLimit cannot be set',
  options,
  async () => {
    assert.deepEqual(await reportOf('frozen-error'), [1, 2])
  },
)

test(
  'what fails in children is told where Error.prepareStackTrace makes something else of stacks',
  options,
  async () => {
    const report = (await reportOf('other-stacks')) as { code?: string; message: string }[]
    assert.deepEqual(
      report.map(({ code }) => code),
      ['ERR_WORKER_DIED', 'ERR_WORKER_DIED', undefined],
    )
    assert.equal(report[2]!.message, 'on purpose')
  },
)

test('waits take no notice of what was added to Object.prototype', options, async () => {
  assert.deepEqual(await reportOf('extended-objects'), [1, 0])
})
