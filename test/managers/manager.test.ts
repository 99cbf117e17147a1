/** Managers: their life, types of users, errors, references, and managers of other programs. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { promisify } from 'node:util'
import {
  BaseManager,
  BaseProxy,
  type DictProxy,
  type ListProxy,
  Manager,
  Process,
  RemoteError,
  SharedMemoryManager,
  SyncManager,
  getContext,
  makeProxyType,
} from 'multiproc'
import { nativeStatus } from '#src/platform/native-addon.js'
import { forEachSharingMethod } from '../queue/sharing-methods.js'
import { checkLeaks } from '../leak-check.js'
import { Counter, makeCounter } from './kinds.js'

checkLeaks()

const closed = { code: 'ERR_CLOSED' }

forEachSharingMethod(context => {
  test('C125 test_mymanager_context_prestarted: start() starts once, and everything is over behind shutdown()', async () => {
    const MyManager = BaseManager.register('Counter', Counter)
    const manager = new MyManager({ context })
    await assert.rejects(manager.Counter(), closed)
    assert.throws(() => manager.address, closed)
    await manager.start()
    await assert.rejects(manager.start(), { code: 'ERR_INVALID_STATE' })
    {
      await using _scope = manager
      const counter = await manager.Counter(5)
      assert.equal(await counter.increment(), 6)
    }
    await assert.rejects(manager.Counter(), closed)
    await assert.rejects(manager.start(), { code: 'ERR_INVALID_STATE' })
    await manager.shutdown()
    await manager.join()
    assert.equal(manager.process?.exitCode, 0)
  })

  test('A class and a function of the user are objects of the manager, with their public methods', async () => {
    const MyManager = BaseManager.register('Counter', Counter, {
      methodToTypeId: { child: 'Counter' },
    }).register('made', makeCounter, { exposed: ['increment'] })
    await using manager = new MyManager({ context })
    await manager.start()
    const counter = await manager.Counter(1)
    assert.equal(await counter.later(), 1)
    const child = new Process({ target: () => counter.increment(2), context })
    child.start()
    assert.equal(await child.result(), 3)
    await child.join()
    // A result of a method that stays in the manager.
    const other = (await counter.child()) as unknown as typeof counter
    assert.equal(await other.increment(), 104)
    assert.equal(await counter.callMethod('increment', [0]), 3)
    await assert.rejects(counter.callMethod('_hidden'), { code: 'ERR_REMOTE' })
    await assert.rejects(counter.callMethod('constructor'), { code: 'ERR_REMOTE' })
    await assert.rejects(counter.callMethod('toString'), { code: 'ERR_REMOTE' })
    const made = await manager.made(10)
    assert.equal(await made.increment(), 11)
    await assert.rejects(made.callMethod('later'), { code: 'ERR_REMOTE' })
    await assert.rejects(manager.create('nothing'), { code: 'ERR_REMOTE' })
    await assert.rejects(counter.unsendable(), { code: 'ERR_NOT_SERIALIZABLE' })
    await assert.rejects(counter.callMethod('increment', [new WeakRef({})]), { code: 'ERR_NOT_SERIALIZABLE' })
  })

  test('A proxy class of the user has the methods that it wants', async () => {
    class CounterProxy extends BaseProxy<Counter> {
      static readonly exposed = ['increment']
      async twice(): Promise<number> {
        await this.callMethod('increment')
        return (await this.callMethod('increment')) as number
      }
    }
    const MyManager = BaseManager.register('Counter', Counter, { proxyType: CounterProxy })
    await using manager = new MyManager({ context })
    await manager.start()
    const counter = await manager.Counter()
    assert.ok(counter instanceof CounterProxy)
    assert.equal(await counter.twice(), 2)
    await assert.rejects(counter.callMethod('later'), { code: 'ERR_REMOTE' })
    const Made = makeProxyType('Made', ['increment'])
    assert.equal(Made.name, 'Made')
    assert.deepEqual(Made.exposed, ['increment'])
    assert.throws(() => new Made(), closed)
  })

  test('What a method throws arrives with its class and its stack there', async () => {
    const MyManager = BaseManager.register('Counter', Counter)
    await using manager = new MyManager({ context })
    await manager.start()
    const counter = await manager.Counter()
    await assert.rejects(counter.fail(), (error: RangeError) => {
      assert.ok(error instanceof RangeError)
      assert.equal(error.message, 'the counter failed')
      assert.match(error.stack!, /kinds\.[jt]s/)
      assert.ok(error.cause instanceof RemoteError)
      if (context === 'spawn') assert.equal(error.cause.pid, manager.process!.pid)
      return true
    })
  })

  test('An initializer runs in the server, and what it throws is thrown by start()', async () => {
    const manager = new SyncManager({ context })
    const initializer = (message: string): never => {
      throw new TypeError(message)
    }
    await assert.rejects(manager.start({ initializer, initArgs: ['not today'] }), { message: 'not today' })
    await assert.rejects(manager.dict(), closed)
    await manager.shutdown()
  })

  test('test_manager_initializer: what is no function, or no list of arguments, is refused before anything starts', async () => {
    const manager = new SyncManager({ context })
    const initializer = (): void => {}
    for (const wrong of [1, { initializer: 1 }, { initializer, initArgs: 1 }, { initialiser: initializer }]) {
      await assert.rejects(manager.start(wrong as never), { name: 'TypeError', code: 'ERR_INVALID_ARGUMENT' })
    }
    await manager.start({ initializer })
    await manager.shutdown()
    await manager.join()
    assert.equal(manager.process?.exitCode, 0)
  })

  test('Objects are counted, and one goes with its last proxy', async () => {
    await using manager = await getContext(context).Manager()
    assert.equal(await manager.numberOfObjects(), 0)
    const dict = await manager.dict({ a: 1 })
    const lock = await manager.Lock()
    assert.equal(await manager.numberOfObjects(), 2)
    assert.match((await manager.debugInfo()).join('\n'), /1: dict uses=1\n.*'a' => 1/s)
    const list = await manager.list([dict])
    dict.detach()
    dict.detach()
    await assert.rejects(dict.get('a'), closed)
    assert.throws(() => dict.token, closed)
    const again = await list.get(0)
    assert.equal(await again.get('a'), 1)
    lock.detach()
    assert.equal(await manager.numberOfObjects(), 2)
    assert.deepEqual(list.token.address, manager.address)
  })

  test('A proxy that its sender detaches at once arrives all the same', async () => {
    await using manager = await Manager({ context })
    const dict = await manager.dict<string, number>()
    const queue = await manager.Queue<typeof dict>()
    await queue.put(dict)
    dict.detach()
    const arrived = await queue.get()
    await arrived.set('a', 1)
    assert.equal(await arrived.get('a'), 1)
  })
})

test('C127 test_rapid_restart: a manager is started again at once at the same address', async () => {
  const authKey = 'restart'
  const first = new SyncManager({ address: ['127.0.0.1', 0], authKey })
  await first.start()
  const { address } = first
  const dict = await first.dict({ a: 1 })
  await first.shutdown()
  await using second = new SyncManager({ address, authKey })
  await second.start()
  assert.deepEqual(second.address, address)
  assert.equal(await (await second.dict({ a: 2 })).get('a'), 2)
  await assert.rejects(new SyncManager({ address, authKey }).start(), { code: 'ERR_ALREADY_EXISTS' })
  // The proxy is one of the manager that has ended.
  await assert.rejects(dict.get('a'), closed)
})

test('Another program connects with the key, over TLS, and no other is let in', async () => {
  const pem = (name: string): string =>
    readFileSync(new URL(`../../../test/fixtures/tls/server-${name}.pem`, import.meta.url), 'utf8')
  const tls = { key: pem('key'), cert: pem('cert'), ca: pem('cert') }
  const Served = SyncManager.register('Counter', Counter)
  const served = new Served({ address: ['127.0.0.1', 0], authKey: 'of both', tls })
  await using server = served.getServer()
  await server.listen()
  const serving = server.serveForever()
  const { address } = server
  const target = async (): Promise<unknown> => {
    // As a program of its own does that has nothing in common with this one but address, key and certificate.
    const { SyncManager: There } = await import('multiproc')
    const Typed = There.register('Counter', undefined, {})
    const manager = new Typed({ address, authKey: 'of both', tls: { ca: tls.ca } })
    await manager.connect()
    const dict = await manager.dict<string, number>({ a: 1 })
    await dict.update('a', (n = 0) => n + 1)
    const counter = (await manager.create('Counter', 5)) as unknown as { increment(): Promise<number> }
    const wrong = new There({ address, authKey: 'another', tls: { ca: tls.ca } })
    const refused = await wrong.connect().catch((error: { code: string }) => error.code)
    // A process that is given a proxy can use it, because it is one of the same program.
    const { Process: Child } = await import('multiproc')
    const child = new Child({ target: () => dict.get('a') })
    child.start()
    const inChild = await child.result()
    await child.join()
    return [await dict.get('a'), await counter.increment(), refused, inChild]
  }
  const child = new Process({ target })
  child.start()
  assert.deepEqual(await child.result(), [2, 6, 'ERR_AUTHENTICATION', 2])
  await child.join()
  await server.shutdown()
  await serving
})

test('connect() fails clearly without an address and where nobody listens', async () => {
  await assert.rejects(new SyncManager().connect(), TypeError)
  await assert.rejects(new SyncManager({ address: ['127.0.0.1', 1], authKey: 'x' }).connect(), {
    code: 'ERR_NOT_FOUND',
  })
  assert.throws(() => new SyncManager({ adress: '' } as never), TypeError)
  assert.throws(() => new SyncManager({ shutdownTimeout: -1 }), RangeError)
  assert.throws(() => BaseManager.register('', Counter), TypeError)
  assert.throws(() => BaseManager.register('x', 5 as never), TypeError)
})

test(
  'C165 test_shared_memory_SharedMemoryManager_basics: memory and lists vanish with the manager, also when it is killed',
  { skip: nativeStatus().isOn && process.platform === 'linux' ? false : 'needs memory with names' },
  async () => {
    await assert.rejects(new SharedMemoryManager().SharedMemory(8), closed)
    await assert.rejects(new SharedMemoryManager().SharedMemory(8), /Cannot make a "SharedMemory"/)
    await assert.rejects(new SharedMemoryManager().SharedMemory({ size: 8 } as never), {
      name: 'TypeError',
      message: /To fix: pass it alone, as in: await manager\.SharedMemory\(1024\)$/,
    })
    for (const end of ['shutdown', 'kill'] as const) {
      const manager = new SharedMemoryManager()
      await manager.start()
      using memory = await manager.SharedMemory(32)
      using list = await manager.ShareableList([1, 'two'])
      assert.equal(memory.size, 32)
      assert.deepEqual([...list], [1, 'two'])
      const names = [memory.name, list.shm.name]
      const exists = (): boolean[] => names.map(name => namesInSystem().includes(name!))
      assert.deepEqual(exists(), [true, true])
      if (end === 'kill') manager.process!.kill()
      await (end === 'kill' ? manager.join() : manager.shutdown())
      await manager.shutdown()
      assert.deepEqual(exists(), [false, false])
    }
  },
)

function namesInSystem(): string[] {
  return process.getBuiltinModule('node:fs').readdirSync('/dev/shm')
}

/** Runs a program of its own, and gives what it prints. */
async function outputOf(program: string): Promise<string> {
  const index = new URL('../../../dist/index.js', import.meta.url).href
  const text = `import { Manager, Process, getContext } from ${JSON.stringify(index)}\n${program}`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', text])
  return stdout
}

test('A program that does not shut its manager down ends all the same, and so does a child', async () => {
  for (const context of ["getContext('spawn')", "getContext('thread')"]) {
    const manager = `const manager = await ${context}.Manager(); const dict = await manager.dict({ a: 1 })`
    assert.equal(await outputOf(`${manager}; console.log(await dict.get('a'))`), '1\n')
  }
  const target = `async () => { const manager = await Manager(); await manager.dict() }`
  const inChild = `const child = new Process({ target: ${target} }); child.start(); console.log(await child.join())`
  assert.equal(await outputOf(inChild), '0\n')
})

test('An error of a method has the line of who called it in its stack', async () => {
  await using manager = await Manager()
  const dict = await manager.dict({ a: 1 })
  async function whoCalls(): Promise<void> {
    await dict.pop('b')
  }
  const error = await whoCalls().catch((reason: unknown) => reason)
  assert.ok(error instanceof Error)
  assert.match(error.stack!, /--- called from ---\n(?:.*processTicksAndRejections.*\n)?.*whoCalls/)
})

test('The type of the values of a dict is told from the object that it is made of', async () => {
  await using manager = await Manager()
  const ages: DictProxy<string, number> = await manager.dict({ ann: 3 })
  const inner = await manager.list([1])
  const outer: DictProxy<string, ListProxy<number>> = await manager.dict({ inner })
  assert.deepEqual([await ages.get('ann'), await (await outer.get('inner'))!.copy()], [3, [1]])
})
