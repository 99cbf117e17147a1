/** What becomes of a manager and its clients when either side is killed at the wrong moment, and with many of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DictProxy, Manager, Pipe, Process, SyncManager, currentProcess } from 'multiproc'
import { parseAddress } from '#src/connection/address.js'
import { connectSocket } from '#src/connection/connect-socket.js'
import { introduceClient } from '#src/managers/introduction.js'
import { ManagerLink } from '#src/managers/manager-link.js'
import type { ManagerPlace } from '#src/managers/manager-place.js'
import { checkLeaks, eventually, isRunning } from '../leak-check.js'
import { forEachSharingMethod } from '../queue/sharing-methods.js'

checkLeaks()

const closed = { name: 'ClosedError', code: 'ERR_CLOSED' }

forEachSharingMethod(context => {
  test('When the server is killed, all calls that wait are rejected, and later ones at once', async () => {
    const manager = await Manager({ context })
    const [lock, queue, event, dict] = [
      await manager.Lock(),
      await manager.Queue(),
      await manager.Event(),
      await manager.dict(),
    ]
    const condition = await manager.Condition()
    const barrier = await manager.Barrier(2)
    await lock.acquire()
    await condition.acquire()
    const waiting = [lock.acquire(), queue.get(), event.wait(), condition.wait(), barrier.wait()]
    const told = waiting.map(call => assert.rejects(call, closed))
    // The server has got them all.
    await dict.set('a', 1)
    manager.process!.kill()
    await Promise.all(told)
    await assert.rejects(dict.get('a'), (error: Error) => {
      if (context === 'spawn') assert.match(error.message, /SIGKILL/)
      return true
    })
    await assert.rejects(dict.get('a'), closed)
    await assert.rejects(manager.list(), closed)
    await manager.shutdown()
  })

  test('A child that waits for a server that is killed is told, too', async () => {
    const manager = await Manager({ context })
    const event = await manager.Event()
    const arrived = await manager.Event()
    const child = new Process({
      context,
      target: async () => {
        await arrived.set()
        return await event.wait().catch((error: { code: string }) => error.code)
      },
    })
    child.start()
    await arrived.wait()
    manager.process!.kill()
    assert.equal(await child.result(), 'ERR_CLOSED')
    await child.join()
    await manager.shutdown()
  })

  test('When a client is killed, its locks pass on with OwnerDiedError and what it had is let go of', async () => {
    await using manager = await Manager({ context })
    const lock = await manager.Lock()
    const semaphore = await manager.Semaphore(1)
    const [here, there] = Pipe()
    const child = new Process({
      context,
      target: async () => {
        const own = await manager2Dict(there)
        await lock.acquire()
        await semaphore.acquire()
        await own.set('held', true)
        await there.send('holds')
        await new Promise(() => setInterval(() => {}, 1000))
      },
    })
    child.start()
    const dict = await manager.dict()
    await here.send(dict)
    dict.detach()
    assert.equal(await here.recv(), 'holds')
    assert.equal(await manager.numberOfObjects(), 3)
    const waiting = lock.acquire()
    child.kill()
    await assert.rejects(waiting, { code: 'ERR_OWNER_DIED' })
    await lock.release()
    assert.equal(await lock.acquire({ timeout: 0 }), true)
    await assert.rejects(semaphore.acquire(), { code: 'ERR_OWNER_DIED' })
    await child.join()
    assert.equal(await manager.numberOfObjects(), 2)
    here.close()
    there.close()
  })

  test('A guard of a dead holder passes on, and { recover: true } takes over', async () => {
    await using manager = await Manager({ context })
    const lock = await manager.Lock()
    const child = new Process({ context, target: () => lock.acquire() })
    child.start()
    await child.join()
    await assert.rejects(lock.guard(), { code: 'ERR_OWNER_DIED' })
    {
      await using held = await lock.guard({ recover: true })
      assert.equal(held.ownerDied, true)
    }
    {
      using held = await lock.guard()
      assert.equal(held.ownerDied, false)
    }
    assert.equal(await lock.locked(), false)
  })

  test('An abort and a timeout end a wait, and nothing is taken by who does not wait any more', async () => {
    await using manager = await Manager({ context })
    const queue = await manager.Queue<number>()
    const reason = new Error('enough')
    const controller = new AbortController()
    const getting = queue.get({ signal: controller.signal })
    await queue.qsize()
    controller.abort(reason)
    await assert.rejects(getting, error => error === reason)
    await assert.rejects(queue.get({ timeout: 5 }), { code: 'ERR_QUEUE_EMPTY' })
    await assert.rejects(queue.get({ signal: AbortSignal.abort(reason) }), error => error === reason)
    await queue.put(1)
    assert.equal(await queue.get(), 1)
    const lock = await manager.Lock()
    await lock.acquire()
    assert.equal(await lock.acquire({ timeout: 5 }), false)
    await assert.rejects(lock.guard({ timeout: 5 }), { code: 'ERR_TIMEOUT' })
  })
})

/** The dict that comes over the pipe. */
async function manager2Dict(pipe: { recv(): Promise<unknown> }): Promise<DictProxy> {
  return (await pipe.recv()) as DictProxy
}

test('The server ends with the program that started it, also after SIGKILL', async () => {
  const program = new Process({
    daemon: false,
    target: async () => {
      const { Manager: start } = await import('multiproc')
      const manager = await start()
      await pids.send(manager.process!.pid!)
      await new Promise(() => setInterval(() => {}, 1000))
    },
  })
  const [here, pids] = Pipe<number, number>()
  program.start()
  const pid = await here.recv()
  assert.ok(isRunning(pid))
  program.kill()
  await program.join()
  await eventually(() => !isRunning(pid))
  here.close()
  pids.close()
})

test('200 clients at once have a lock one after the other', async () => {
  await using manager = await Manager()
  const dict = await manager.dict<string, number>({ count: 0 })
  const lock = await manager.Lock()
  const place = { address: parseAddress(manager.address), server: '' }
  // Connections of their own in this process: as many processes would be too much for a small machine.
  const links = Array.from({ length: 200 }, () => newLinkTo(place))
  const count = async (link: ManagerLink): Promise<void> => {
    for (const { token } of [dict, lock]) link.open(token.id, undefined)
    await link.call(undefined, lock.token.id, 'acquire', [])
    const before = (await link.call(undefined, dict.token.id, 'get', ['count'])) as number
    await link.call(undefined, dict.token.id, 'set', ['count', before + 1])
    await link.call(undefined, lock.token.id, 'release', [])
  }
  await Promise.all(links.map(count))
  assert.equal(await dict.get('count'), 200)
  assert.equal(await lock.locked(), false)
  for (const link of links) link.close()
})

function newLinkTo(place: ManagerPlace): ManagerLink {
  return new ManagerLink({
    place,
    credentialsToShare: undefined,
    connect: async () =>
      introduceClient(await connectSocket(place.address, { authKey: currentProcess().authKey })),
    ended: () => Promise.resolve(undefined),
  })
}

test('Who does not know the key, or speaks another language, is not served and disturbs nobody', async () => {
  const manager = new SyncManager({ address: ['127.0.0.1', 0], authKey: 'right' })
  await manager.start()
  const { address } = manager
  await assert.rejects(new SyncManager({ address, authKey: 'wrong' }).connect(), {
    code: 'ERR_AUTHENTICATION',
  })
  // One that knows the key, and then talks nonsense.
  const socket = await connectSocket(address, { authKey: Buffer.from('right') })
  const ended = new Promise(resolve => socket.once('close', resolve))
  socket.on('error', () => {})
  socket.resume()
  socket.write('GET / HTTP/1.1\r\nHost: nobody\r\n\r\n')
  await ended
  const dict = await manager.dict({ a: 1 })
  assert.equal(await dict.get('a'), 1)
  await manager.shutdown()
})
