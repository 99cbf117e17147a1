/** Paths of local sockets: nobody else can reach them, and nothing of them is left. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { newSocketPath, removeSocket, removeSocketsOfTheDead } from '#src/platform/local-socket.js'
import { mayRun } from '#src/platform/process-facts.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

/** A process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ['--version']).pid
}

for (const platform of new Set([process.platform, 'darwin'] as const)) {
  test(`a server listens at a path as on ${platform}, and no two paths are the same`, async () => {
    const path = newSocketPath(platform)
    assert.notEqual(newSocketPath(platform), path)
    const server = createServer(socket => socket.end('hello'))
    server.listen(path)
    await once(server, 'listening')
    const socket = connect(path)
    socket.setEncoding('utf8')
    const [text] = await once(socket, 'data')
    assert.equal(text, 'hello')
    server.close()
    await once(server, 'close')
  })
}

test(
  'a path that is a file lies in a directory of this user alone',
  { skip: process.platform === 'win32' },
  () => {
    const path = newSocketPath('darwin')
    assert.equal(statSync(dirname(path)).mode & 0o777, 0o700)
    // Of a process that lives.
    removeSocketsOfTheDead()
    removeSocket(path, process.pid)
    assert.ok(existsSync(dirname(path)))
  },
)

test('what a killed process left is removed, by who was connected and by who makes the next one', () => {
  const pid = deadPid()
  assert.equal(mayRun(pid), false)
  assert.equal(mayRun(process.pid), true)
  for (const remove of [(path: string) => removeSocket(path, pid), removeSocketsOfTheDead]) {
    const directory = join(tmpdir(), `multiproc-socket-${pid}-test`)
    mkdirSync(directory)
    try {
      remove(join(directory, 's'))
      assert.equal(existsSync(directory), false)
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  }
})
