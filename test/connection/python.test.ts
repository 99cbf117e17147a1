/**
 * Python on the other side: `multiprocessing.connection` carries our bytes, and its handshake of 3.12 is ours. An older
 * Python is tested by the handshake of 3.12 on top of its connections, in test/fixtures/connection.py.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Client, Listener, arbitraryAddress } from 'multiproc'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const program = fileURLToPath(new URL('../../../test/fixtures/connection.py', import.meta.url))
const hasPython = spawnSync('python3', ['-c', 'import multiprocessing.connection']).status === 0
const skip = hasPython ? false : 'there is no python3 here'

/** Runs a function of the program; resolves with what it printed when it has ended well. */
async function python(name: string, address: string | [string, number], key = ''): Promise<string> {
  const where = typeof address === 'string' ? [address.replace(/^\0/, '@')] : address.map(String)
  const child = spawn('python3', [program, name, key, ...where], { stdio: ['ignore', 'pipe', 'pipe'] })
  const outputs = Promise.all([text(child.stdout), text(child.stderr)])
  const [code] = await once(child, 'close')
  const [output, errors] = await outputs
  assert.equal(code, 0, errors)
  return output.trim()
}

const addresses: [string, () => string | [string, number]][] = [
  ['TCP', () => ['127.0.0.1', 0]],
  ...(process.platform === 'win32'
    ? []
    : [['a Unix socket', () => arbitraryAddress()] as [string, () => string]]),
  // Node.js 20 fills such a name up with zeros, so that only Node.js 20 finds it.
  ...(process.platform === 'linux' && !process.version.startsWith('v20.')
    ? [['a name without a file', () => `\0multiproc-python-${process.pid}`] as [string, () => string]]
    : []),
]

describe('Python', { skip }, () => {
  for (const [name, address] of addresses) {
    test(`as a client over ${name} echoes bytes, up to the sizes where its framing changes`, async () => {
      using listener = new Listener(address())
      const done = python('echo_client', await listener.listening())
      using connection = await listener.accept()
      for (const size of [0, 1, 16_384, 16_385, 1_000_000]) {
        const bytes = new Uint8Array(size).fill(size % 251)
        const sent = connection.sendBytes(bytes)
        assert.ok(Buffer.from(await connection.recvBytes()).equals(bytes), `${size} bytes`)
        await sent
      }
      connection.close()
      assert.equal(await done, 'echoed 5')
    })

    test(`as a client over ${name} with the key comes in by the handshake of 3.12, and with another key does not`, async () => {
      using listener = new Listener(address(), { authKey: 'the key' })
      const where = await listener.listening()
      const done = python('client_with_key', where, 'the key')
      using connection = await listener.accept()
      assert.equal(Buffer.from(await connection.recvBytes()).toString(), 'from Python')
      await connection.sendBytes(Buffer.from('from Node.js'))
      assert.equal(await done, 'from Node.js')
      assert.equal(
        await python('client_with_key', where, 'another'),
        'AuthenticationError digest sent was rejected',
      )
    })

    test(`as a listener over ${name} lets in who has the key, and not who has another`, async () => {
      const where = address()
      const child = spawn(
        'python3',
        [
          program,
          'listener_with_key',
          'the key',
          ...(typeof where === 'string' ? [where.replace(/^\0/, '@')] : where.map(String)),
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      const exit = once(child, 'close')
      const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
      const port = /^port (\d+)$/.exec(line)?.[1]
      const there = port === undefined ? where : (['127.0.0.1', Number(port)] as [string, number])
      await assert.rejects(Client(there, { authKey: 'another' }), { code: 'ERR_AUTHENTICATION' })
      using client = await Client(there, { authKey: 'the key' })
      await client.sendBytes(Buffer.from('hello'))
      assert.equal(Buffer.from(await client.recvBytes()).toString(), 'HELLO')
      client.close()
      assert.deepEqual(await exit, [0, null])
    })
  }

  test('that sends a pickled value is told apart from who sends one of ours', async () => {
    using listener = new Listener(['127.0.0.1', 0])
    const done = python('pickling_client', await listener.listening())
    using connection = await listener.accept()
    await assert.rejects(connection.recv(), { code: 'ERR_NOT_DESERIALIZABLE', message: /pickle/ })
    assert.equal(Buffer.from(await connection.recvBytes()).toString(), 'bytes are fine')
    await done
  })

  test('with its own Client and Listener either has the handshake of 3.12 or is refused for MD5', async () => {
    const refused: string[] = []
    using listener = new Listener(['127.0.0.1', 0], {
      authKey: 'the key',
      onRefused: error => void refused.push((error as Error & { reason: string }).reason),
    })
    const done = python('own_client', await listener.listening(), 'the key')
    const accepting = listener.accept({ timeout: 60_000 })
    accepting.catch(() => {})
    const outcome = await done
    if (outcome === 'connected') {
      using connection = await accepting
      assert.equal(Buffer.from(await connection.recvBytes()).toString(), 'from Python')
    } else {
      assert.equal(outcome, 'AuthenticationError digest sent was rejected')
      assert.deepEqual(refused, ['it uses MD5, as Python 3.11 and older do'])
      listener.close()
      await assert.rejects(accepting, { code: 'ERR_CLOSED' })
    }
  })
})
