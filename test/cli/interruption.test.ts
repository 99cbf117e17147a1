import assert from 'node:assert/strict'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { isRunning } from '../leak-check.js'
import { fixture, startCommand } from './run-command.js'

const upper = fixture('tasks.mjs#upper')

/** Waits until the child writes something that matches to standard error, and gives the match. */
async function saidOnStderr(
  child: ChildProcessWithoutNullStreams,
  pattern: RegExp,
): Promise<RegExpExecArray> {
  let said = ''
  for (;;) {
    const [chunk] = (await once(child.stderr, 'data')) as [Buffer]
    said += chunk.toString()
    const match = pattern.exec(said)
    if (match !== null) return match
  }
}

/** Feeds lines without end. */
function feedForEver(child: ChildProcessWithoutNullStreams): void {
  const block = 'some words\n'.repeat(1000)
  Readable.from(
    (function* () {
      for (;;) yield block
    })(),
  ).pipe(child.stdin)
}

test('map ends with 130 on Ctrl-C, says how many were done, and leaves no worker', async () => {
  const child = startCommand(['map', fixture('tasks.mjs#hang'), '-p', '1', 'x'])
  const [, pid] = await saidOnStderr(child, /hanging in (\d+) x\n/)
  const rest = text(child.stderr)
  child.kill('SIGINT')
  assert.deepEqual(await once(child, 'close'), [130, null])
  assert.equal(await rest, 'Interrupted: 0 items were done\n')
  assert.ok(!isRunning(Number(pid)))
})

test('map prints what was done before Ctrl-C, over an endless input', async () => {
  const child = startCommand(['map', upper])
  const stderr = text(child.stderr)
  feedForEver(child)
  let printed = 0
  for await (const line of createInterface({ input: child.stdout })) {
    assert.equal(line, '"SOME WORDS"')
    if (++printed === 1000) child.kill('SIGINT')
  }
  if (child.exitCode === null) await once(child, 'exit')
  assert.equal(child.exitCode, 130)
  const [, done] = /^Interrupted: (\d+) items were done\n$/.exec(await stderr) ?? []
  assert.equal(Number(done), printed)
})

test('map ends at once on the second Ctrl-C, although a worker refuses to', async () => {
  const child = startCommand(['map', fixture('tasks.mjs#stubborn'), 'x'])
  await saidOnStderr(child, /stubborn\n/)
  child.kill('SIGINT')
  await saidOnStderr(child, /asked to stop\n/)
  const rest = text(child.stderr)
  child.kill('SIGINT')
  assert.deepEqual(await once(child, 'exit'), [130, null])
  assert.doesNotMatch(await rest, /Interrupted/)
})

test('map ends with 143 on SIGTERM', async () => {
  const child = startCommand(['map', fixture('tasks.mjs#hang'), '-p', '1', 'x'])
  await saidOnStderr(child, /hanging in/)
  child.kill('SIGTERM')
  assert.deepEqual(await once(child, 'exit'), [143, null])
})

test('map ends quietly when the reader of its output goes away', async () => {
  const child = startCommand(['map', upper])
  const stderr = text(child.stderr)
  feedForEver(child)
  await once(child.stdout, 'data')
  child.stdout.destroy()
  assert.deepEqual(await once(child, 'exit'), [0, null])
  assert.equal(await stderr, '')
})

test('map gets along with little memory, however long its input is', async () => {
  // 300,000 items with their places and results would be more than the 32 MiB that V8 gets for what lasts.
  const child = startCommand(['map', upper, '-p', '2'], {
    nodeOptions: '--max-old-space-size=32 --max-semi-space-size=1',
  })
  const stderr = text(child.stderr)
  const exit = once(child, 'exit')
  feedForEver(child)
  let count = 0
  for await (const _line of createInterface({ input: child.stdout })) if (++count === 300_000) break
  child.stdout.destroy()
  assert.deepEqual(
    { exit: await exit, count, stderr: await stderr },
    { exit: [0, null], count: 300_000, stderr: '' },
  )
})
