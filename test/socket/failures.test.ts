/** Sockets on their way when somebody is killed, when there is no room, when a message fails; and what is refused. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer, type Socket, Socket as NetSocket } from 'node:net'
import { test } from 'node:test'
import { TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { DupFd, Pipe, Pool, Process, Queue, registerReducer } from 'multiproc'
import { keptDescriptors } from '#src/platform/descriptors.js'
import { nativeStatus } from '#src/platform/native-addon.js'
import { encode } from '#src/serialize/codec.js'
import { checkLeaks } from '../leak-check.js'
import { isNative } from '../queue/sharing-methods.js'
import { connected, listening, portOf, textOf } from './connected.js'

checkLeaks()

const onlyNative = { skip: isNative ? false : 'needs the native addon' }
const program = fileURLToPath(new URL('../fixtures/descriptor-programs.js', import.meta.url))

async function outputOf(name: string, env: NodeJS.ProcessEnv = {}, limit?: number): Promise<unknown> {
  const node = [process.execPath, program, name]
  const [file, ...args] =
    limit === undefined ? node : ['sh', '-c', `ulimit -n ${limit} && exec "$@"`, 'sh', ...node]
  const { stdout } = await promisify(execFile)(file!, args, { env: { ...process.env, ...env } })
  return JSON.parse(stdout)
}

test('a socket arrives whole when its sender is killed right after put()', onlyNative, async () => {
  const server = await listening()
  using queue = new Queue<Socket>()
  const child = new Process({
    args: [queue, portOf(server)],
    target: async (to: Queue<Socket>, port: number) => {
      const socket = connect(port, '127.0.0.1').pause()
      await once(socket, 'connect')
      await to.put(socket)
      process.kill(process.pid, 'SIGKILL')
    },
  })
  const arrival = once(server, 'connection')
  child.start()
  const [accepted] = (await arrival) as [Socket]
  await child.join()
  assert.equal(child.exitCode, -9)
  accepted.end('to whom it may concern')
  assert.equal(await textOf(await queue.get()), 'to whom it may concern')
  server.close()
  await once(server, 'close')
})

test('a connection is closed when the only process that received it is killed', onlyNative, async () => {
  using pair = await connected()
  using queue = new Queue<Socket>()
  const child = new Process({
    args: [queue],
    target: async (from: Queue<Socket>) => {
      const socket = await from.get()
      socket.write('received')
      await new Promise(() => setInterval(() => {}, 1e6))
    },
  })
  child.start()
  await queue.put(pair.accepted)
  pair.accepted.destroy()
  const [data] = (await once(pair.client, 'data')) as [Buffer]
  assert.equal(String(data), 'received')
  child.kill()
  await pair.closed
  await child.join()
})

test('a task with a socket goes to another worker when the first dies before it', onlyNative, async () => {
  await using pool = new Pool({ processes: 1 })
  using pair = await connected()
  const die = (): void => process.kill(process.pid, 'SIGKILL') as unknown as void
  const greet = (socket: Socket): void => void socket.end('from the second')
  const first = pool.apply(die)
  const second = pool.apply(greet, [pair.accepted])
  pair.accepted.destroy()
  await assert.rejects(first, { code: 'ERR_WORKER_DIED' })
  await second
  assert.equal(await textOf(pair.client), 'from the second')
  await pair.closed
  assert.equal(keptDescriptors(), 0)
})

test(
  'nothing is kept for a message that fails, does not fit, or has nobody to go to',
  onlyNative,
  async () => {
    using pair = await connected()
    using queue = new Queue({ maxSize: 1 })
    await assert.rejects(queue.put([pair.accepted, Promise.resolve()]), { code: 'ERR_NOT_SERIALIZABLE' })
    await queue.put('full')
    await assert.rejects(queue.put(pair.accepted, { timeout: 0 }), { code: 'ERR_QUEUE_FULL' })
    assert.throws(() => queue.putSync(pair.accepted, { timeout: 0 }), { code: 'ERR_QUEUE_FULL' })
    const [a, b] = Pipe()
    b.close()
    await assert.rejects(a.send(pair.accepted), { code: 'ERR_CLOSED' })
    a.close()
    assert.equal(keptDescriptors(), 0)
  },
)

class Unrebuildable {
  readonly kind = 'unrebuildable'
}

test('a socket that arrived beside something that cannot be rebuilt is closed', onlyNative, async () => {
  registerReducer({
    type: Unrebuildable,
    name: 'test.Unrebuildable',
    encode: () => null,
    decode: () => {
      throw new Error('not today')
    },
  })
  using pair = await connected()
  using queue = new Queue()
  await queue.put([pair.accepted, new DupFd(0), new Unrebuildable()])
  pair.accepted.destroy()
  await assert.rejects(queue.get(), /not today/)
  pair.client.resume()
  await pair.closed
  assert.equal(keptDescriptors(), 0)
})

test('a message that is read a second time is an error, and no other descriptor', onlyNative, async () => {
  using pair = await connected()
  const [a, b] = Pipe<unknown, unknown>()
  await a.send(pair.accepted)
  const bytes = await b.recvBytes()
  for (let copy = 0; copy < 2; copy++) await a.sendBytes(bytes)
  const socket = (await b.recv()) as Socket
  socket.destroy()
  await assert.rejects(b.recv(), { code: 'ERR_CLOSED' })
  for (const end of [a, b]) end.close()
})

test('what would lose bytes, or arrive as something else, is refused with its path', async () => {
  using reading = await connected()
  using writing = await connected()
  using flowing = await connected()
  flowing.accepted.resume()
  using wrapped = await connected()
  reading.accepted.resume()
  reading.client.write('abc')
  await once(reading.accepted, 'data')
  reading.accepted.pause()
  reading.accepted.unshift(Buffer.from('abc'))
  writing.accepted.cork()
  writing.accepted.write('abc')
  const listener = await listening()
  const file = await open(process.argv[1]!)
  // From here on the event loop does not turn, so this goes on connecting.
  const connecting = connect(portOf(listener), '127.0.0.1')
  const destroyed = new NetSocket()
  destroyed.destroy()
  const refused: [value: unknown, what: RegExp][] = [
    [reading.accepted, /a Socket with 3 bytes that were read and not taken yet, .*pauseOnConnect/s],
    [flowing.accepted, /a Socket that is being read here/],
    [writing.accepted, /a Socket with 3 bytes that are not written yet/],
    [new TLSSocket(wrapped.accepted), /a TLSSocket/],
    [new (class Mine extends NetSocket {})(), /a Mine/],
    [connecting, /a Socket that is connecting/],
    [destroyed, /a Socket that is closed/],
    [new NetSocket(), /a Socket that is not connected/],
    [createServer(), /a Server that does not listen/],
    [createHttpServer(), /a Server of another module than node:net.*http\.createServer\(handler\)\.listen/s],
  ]
  for (const [value, message] of refused) {
    assert.throws(() => encode({ in: { value } }), {
      code: 'ERR_NOT_SERIALIZABLE',
      message,
      path: ['.in', '.value'],
    })
    // As the variable that a function has captured.
    assert.throws(() => encode(() => value), { code: 'ERR_NOT_SERIALIZABLE', message })
  }
  // Which path the error names differs between versions of Node.js.
  for (const value of [file, () => file]) {
    assert.throws(() => encode(value), { code: 'ERR_NOT_SERIALIZABLE', message: /a FileHandle.*DupFd/s })
  }
  await file.close()
  connecting.destroy()
  listener.close()
})

test('what nobody fetches is closed in time, and what a sender keeps ends with it', onlyNative, async () => {
  const missing = -2
  assert.deepEqual(await outputOf('expires'), { late: [missing, missing], there: [true, true], left: 0 })
})

test('the keeper has room for so many, and for more when one was fetched', onlyNative, async () => {
  const [noRoom, badDescriptor] = [-105, -9]
  assert.deepEqual(await outputOf('full'), { third: noRoom, fourth: true, closed: badDescriptor })
})

test('a program that may have few files is told when too many are on their way', onlyNative, async () => {
  assert.deepEqual(await outputOf('crowded', {}, 512), { code: 'ERR_LIMIT', isHalf: true, again: 'none' })
})

test('the keeper drops what is no request, and goes on', onlyNative, async () => {
  assert.deepEqual(await outputOf('hostile'), { result: 'fetched', left: 0 })
})

test('a descriptor on its way does not keep the program alive', onlyNative, async () => {
  assert.deepEqual(await outputOf('idle'), { kept: 1 })
})

test('without the addon, and where the system refuses the keeper, sending is ERR_NOT_SUPPORTED', async () => {
  const codes = ['ERR_NOT_SUPPORTED', 'ERR_NOT_SUPPORTED', 'ERR_NOT_SUPPORTED']
  assert.deepEqual(await outputOf('unsupported', { MULTIPROC_NATIVE: '0' }), { codes })
  const status = nativeStatus()
  if (!status.isOn) return
  const addon = fileURLToPath(new URL('../../../test/fixtures/keeperless-addon.cjs', import.meta.url))
  const env = { MULTIPROC_NATIVE: addon, REAL_ADDON: status.path }
  assert.deepEqual(await outputOf('unsupported', env), { codes })
})
