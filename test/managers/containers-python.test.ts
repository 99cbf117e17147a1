/** The behaviours that CPython's own tests of containers in managers check, by the names of those tests (_TestContainers). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { BaseProxy, type DictProxy, type ListProxy, type QueueProxy, SyncManager } from 'multiproc'
import { forEachSharingMethod } from '../queue/sharing-methods.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** A manager whose server collects garbage again and again, as a busy one would. */
async function started(context: 'spawn' | 'thread'): Promise<SyncManager> {
  const manager = new SyncManager({ context })
  await manager.start({
    initializer: () => {
      process.getBuiltinModule('node:v8').setFlagsFromString('--expose-gc')
      const gc = process.getBuiltinModule('node:vm').runInNewContext('gc') as () => void
      setInterval(() => gc(), 20).unref()
    },
  })
  return manager
}

/** Waits until the server has let go of all but so many objects; the deadline of the file ends it otherwise. */
async function untilObjects(manager: SyncManager, count: number): Promise<void> {
  while ((await manager.numberOfObjects()) !== count) {
    collectGarbage()
    // Sleep: proxies that were collected are told of when their finalizers run, which nothing announces.
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** What a program in Python would do with a proxy, which the types do not allow. */
const asInPython = (proxy: object): Record<string | number, unknown> => proxy as never

// Functions of their own: what an await has left in the frame of a test is not garbage.

async function useLists(manager: SyncManager): Promise<void> {
  const lists = await Promise.all(Array.from({ length: 5 }, (_, start) => manager.list([start, start + 1])))
  const outer = await manager.list<ListProxy<number>>(lists)
  for (const list of lists) list.detach()
  assert.deepEqual(await (await outer.get(-1)).copy(), [4, 5])
  await (await outer.get(0)).set(-1, 55)
  assert.deepEqual(await (await outer.get(0)).copy(), [0, 55])
  for await (const inner of outer) assert.equal(await inner.length(), 2)
  await outer.clear()
  outer.detach()
}

async function containItself(manager: SyncManager): Promise<void> {
  const self = await manager.list()
  await self.append(self)
  assert.equal(await self.get(0), self)
  self.detach()
}

async function useDicts(manager: SyncManager): Promise<void> {
  const pets = await manager.dict<string, number>({ ferrets: 2, hamsters: 4 })
  const supplies = await manager.dict<string, number>({ water: 10, feed: 3 })
  const dict = await manager.dict<string, DictProxy<string, number>>({ pets, supplies })
  assert.equal(await (await dict.get('supplies'))!.get('water'), 10)
  await (await dict.get('supplies'))!.set('blankets', 5)
  assert.equal(await supplies.get('blankets'), 5)
  pets.detach()
  supplies.detach()
  await (await dict.get('supplies'))!.set('marbles', 7)
  assert.equal(await (await dict.get('supplies'))!.get('marbles'), 7)
  const list = await manager.list([await dict.get('pets'), await dict.get('supplies')])
  await dict.clear()
  assert.equal(await ((await list.get(0)) as DictProxy).get('ferrets'), 2)
  await list.clear()
  for (const proxy of [dict, list]) proxy.detach()
}

forEachSharingMethod(context => {
  test('C082 test_list: slices, extend, index, repeat, concat, nested copies, and a list in a list stays live', async () => {
    await using manager = await started(context)
    const a = await manager.list(Array.from({ length: 10 }, (_, index) => index))
    assert.deepEqual(await a.slice(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    const b = await manager.list<number>()
    assert.deepEqual(await b.copy(), [])
    await b.extend([0, 1, 2, 3, 4])
    assert.deepEqual(await b.copy(), [0, 1, 2, 3, 4])
    assert.equal(await b.get(2), 2)
    assert.deepEqual(await b.slice(2, 10), [2, 3, 4])
    await b.extend(await b.copy())
    assert.deepEqual(await b.copy(), [0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
    assert.deepEqual(await b.concat([5, 6]), [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6])
    assert.deepEqual(await (await manager.list([1, 2])).repeat(3), [1, 2, 1, 2, 1, 2])
    assert.equal(await b.index(3), 3)
    assert.equal(await b.index(3, 4), 8)
    await assert.rejects(b.index(77), { code: 'ERR_NOT_FOUND' })
    assert.equal(await b.indexOf(77), -1)
    const e = await manager.list<ListProxy<number>>([a, b])
    const [first, second] = await e.copy()
    assert.ok(first === a && second === b)
    await a.append(10)
    assert.equal(await (await e.get(0)).at(-1), 10)
    const f = await manager.list([a])
    await ((await f.get(0)) as ListProxy<string | number>).append('hello')
    assert.deepEqual(await ((await f.get(0)) as ListProxy).slice(9), [9, 10, 'hello'])
  })

  test('test_list_iter: an iterator gives the items as they are at its first step, once', async () => {
    await using manager = new SyncManager({ context })
    await manager.start()
    const list = await manager.list([0, 1, 2])
    const iterator = list[Symbol.asyncIterator]()
    await list.set(0, 100)
    assert.equal((await iterator.next()).value, 100)
    await list.set(1, 200)
    const rest: number[] = []
    for await (const item of iterator) rest.push(item)
    assert.deepEqual(rest, [1, 2])
    assert.equal((await iterator.next()).done, true)
  })

  test('containers are made of items and of nothing else', async () => {
    await using manager = new SyncManager({ context })
    await manager.start()
    const invalid = { name: 'TypeError', code: 'ERR_INVALID_ARGUMENT' }
    const list = await manager.list([1])
    for (const wrong of [5, true, null] as never[]) {
      await assert.rejects(manager.list(wrong), invalid)
      await assert.rejects(manager.set(wrong), invalid)
      await assert.rejects(manager.dict(wrong), invalid)
      await assert.rejects(list.extend(wrong), invalid)
      await assert.rejects(list.concat(wrong), invalid)
    }
    assert.deepEqual(await list.getValue(), [1])
  })

  test('C084 test_list_proxy_in_list: lists in a list are live, and one that contains itself is let go of', async () => {
    await using manager = await started(context)
    await useLists(manager)
    await untilObjects(manager, 0)
    await containItself(manager)
    await untilObjects(manager, 0)
  })

  test('C085 test_list_isinstance: a list has the methods of a mutable sequence', async () => {
    await using manager = await started(context)
    const list = await manager.list(['b', 'a', 'c', 'a'])
    await list.insert(1, 'x')
    await list.set(0, 'd')
    assert.equal(await list.pop(), 'a')
    assert.equal(await list.pop(0), 'd')
    assert.equal(await list.remove('x'), true)
    assert.equal(await list.remove('x'), false)
    assert.deepEqual(await list.splice(0, 1, 'p', 'q'), ['a'])
    await list.reverse()
    assert.deepEqual(await list.copy(), ['c', 'q', 'p'])
    await list.sort()
    assert.deepEqual(await list.copy(), ['c', 'p', 'q'])
    await list.sort((one, other) => (one < other ? 1 : -1))
    assert.deepEqual(await list.copy(), ['q', 'p', 'c'])
    await list.sort({ key: item => -item.charCodeAt(0), reverse: true })
    assert.deepEqual(await list.copy(), ['c', 'p', 'q'])
    assert.equal(await list.count('p'), 1)
    assert.equal(await list.includes('p'), true)
    assert.equal(await list.update(0, text => text.toUpperCase()), 'C')
    assert.equal(await list.length(), 3)
    await assert.rejects(list.get(3), RangeError)
    await assert.rejects(list.set(-4, ''), { code: 'ERR_INVALID_ARGUMENT' })
    assert.equal(await list.at(3), undefined)
    await list.clear()
    await assert.rejects(list.pop(), RangeError)
  })

  test('C086 test_dict and C087 test_dict_isinstance: a dict has the methods of a mutable mapping', async () => {
    await using manager = await started(context)
    const dict = await manager.dict<number, string>()
    for (let code = 65; code < 70; code++) await dict.set(code, String.fromCharCode(code))
    const entries: [number, string][] = [
      [65, 'A'],
      [66, 'B'],
      [67, 'C'],
      [68, 'D'],
      [69, 'E'],
    ]
    assert.deepEqual(await dict.copy(), new Map(entries))
    assert.deepEqual(await dict.keys(), [65, 66, 67, 68, 69])
    assert.deepEqual(await dict.values(), ['A', 'B', 'C', 'D', 'E'])
    assert.deepEqual(await dict.items(), entries)
    assert.equal(await dict.get(1), undefined)
    assert.equal(await dict.get(1, 'none'), 'none')
    assert.equal(await dict.pop(65), 'A')
    await assert.rejects(dict.pop(65), { code: 'ERR_NOT_FOUND' })
    assert.equal(await dict.pop(65, 'gone'), 'gone')
    assert.deepEqual(await dict.popItem(), [69, 'E'])
    assert.equal(await dict.setDefault(66, 'x'), 'B')
    assert.equal(await dict.setDefault(1, 'x'), 'x')
    assert.equal(await dict.delete(1), true)
    assert.equal(await dict.has(1), false)
    await dict.update([[1, 'one']])
    const other = await manager.dict<number, string>(new Map([[2, 'two']]))
    await dict.update(other)
    assert.equal(await dict.update(2, text => `${text}!`), 'two!')
    assert.equal(await dict.size(), 5)
    await dict.clear()
    assert.equal(await dict.size(), 0)
    await assert.rejects(dict.popItem(), { code: 'ERR_NOT_FOUND' })
    assert.equal(await dict.update(7, (text = 'new') => text), 'new')
  })

  test('C088 test_dict_iter: iterating a dict gives its entries as they were at the first step', async () => {
    await using manager = await started(context)
    const dict = await manager.dict<string, number>({ a: 1, b: 2 })
    const seen: [string, number][] = []
    for await (const [key, value] of dict) {
      seen.push([key, value])
      await dict.set(`new ${key}`, value)
    }
    assert.deepEqual(seen, [
      ['a', 1],
      ['b', 2],
    ])
  })

  test('C089 test_dict_proxy_nested: dicts in dicts and lists stay live when nothing here refers to them', async () => {
    await using manager = await started(context)
    await useDicts(manager)
    await untilObjects(manager, 0)
  })

  test('C090 test_nested_queue: queues in lists and dicts are used through them', async () => {
    await using manager = await started(context)
    const list = await manager.list<QueueProxy<number>>()
    await list.append(await manager.Queue<number>())
    await (await list.get(0)).put(4)
    assert.equal(await (await list.get(0)).get(), 4)
    const dict = await manager.dict<string, QueueProxy<number>>()
    await dict.set('q', await manager.Queue<number>())
    await (await dict.get('q'))!.put(5)
    assert.equal(await (await dict.get('q'))!.get(), 5)
  })

  test('C091 test_namespace: values by name are read, written and deleted', async () => {
    await using manager = await started(context)
    const names = await manager.Namespace<{ name: string; job: string; _hidden: string }>({ name: 'Bob' })
    await names.set('job', 'Builder')
    await names.set('_hidden', 'hidden')
    assert.equal(await names.get('job'), 'Builder')
    assert.equal(await names.delete('job'), true)
    assert.equal(await names.has('job'), false)
    await assert.rejects(names.get('job'), { code: 'ERR_NOT_FOUND' })
    // Unlike in Python, no name stays with the proxy.
    assert.deepEqual(await names.copy(), { name: 'Bob', _hidden: 'hidden' })
    assert.equal(await names.describe(), "{ name: 'Bob', _hidden: 'hidden' }")
    assert.match(String(names), /^<NamespaceProxy Namespace \d+>$/)
    assert.equal(await names.update('name', name => `${name}!`), 'Bob!')
    assert.ok(names instanceof BaseProxy)
  })

  test('A value that is an object is a copy, and as a key it is refused', async () => {
    await using manager = await started(context)
    const dict = await manager.dict<string, number[]>({ list: [1] })
    const copy = (await dict.get('list'))!
    copy.push(2)
    assert.deepEqual(await dict.get('list'), [1])
    await dict.update('list', (items = []) => [...items, 2])
    assert.deepEqual(await dict.get('list'), [1, 2])
    const refused = { name: 'TypeError', code: 'ERR_INVALID_ARGUMENT' }
    await assert.rejects((dict as unknown as DictProxy).set({}, []), refused)
    await assert.rejects((await manager.set()).add([1]), refused)
  })

  test('what Python writes as an assignment, or reads by an index, is an error that names the method', async () => {
    await using manager = await started(context)
    const names = await manager.Namespace({ x: 1 })
    const dict = await manager.dict({ x: 1 })
    const list = await manager.list([1])
    const array = await manager.Array('i', [1])
    const value = await manager.Value(1)
    const refused = (toFix: string): object => ({
      name: 'TypeError',
      code: 'ERR_INVALID_ARGUMENT',
      message: new RegExp(`\nTo fix: ${toFix.replaceAll(/[().]/g, '\\$&')}`),
    })
    assert.throws(() => (asInPython(names).x = 2), refused("await namespace.set('x', value)"))
    assert.throws(() => (asInPython(dict).x = 2), refused("await dict.set('x', value)"))
    assert.throws(() => (asInPython(list)[0] = 2), refused('await list.set(0, value)'))
    assert.throws(() => (asInPython(array)[-1] = 2), refused('await array.set(-1, value)'))
    assert.throws(() => (asInPython(value).value = 2), refused('await value.set(it)'))
    assert.throws(() => asInPython(list)[0], refused('await list.get(0)'))
    assert.throws(() => asInPython(array)[-1], refused('await array.get(-1)'))
    assert.ok([names, dict, list, array, value].every(proxy => proxy instanceof BaseProxy))
    assert.match(inspect([names, list]), /<NamespaceProxy .*<ListProxy /)
    assert.deepEqual(await names.copy(), { x: 1 })
    assert.deepEqual(await dict.copy(), new Map([['x', 1]]))
    assert.deepEqual(await list.copy(), [1])
    assert.deepEqual(await array.copy(), Int32Array.of(1))
    assert.equal(await value.get(), 1)
  })

  test('update() with a function that throws or is async changes nothing', async () => {
    await using manager = await started(context)
    const dict = await manager.dict<string, number>({ a: 1 })
    const failing = (): number => {
      throw new RangeError('not this')
    }
    await assert.rejects(dict.update('a', failing), (error: RangeError) => {
      assert.ok(error instanceof RangeError)
      assert.equal(error.message, 'not this')
      assert.match(error.stack!, /containers-python/)
      return true
    })
    await assert.rejects(dict.update('a', (async () => 2) as never), TypeError)
    assert.equal(await dict.get('a'), 1)
  })
})
