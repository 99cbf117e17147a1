import assert from 'node:assert/strict'
import { afterEach, describe, test } from 'node:test'
import {
  AuthenticationError,
  ProcessError,
  TimeoutError,
  BaseContext,
  getAllStartMethods,
  getContext,
  getStartMethod,
  Process,
  setStartMethod,
  SpawnProcess,
  ThreadProcess,
} from 'multiproc'
import { expectTypeOf } from 'expect-type'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

afterEach(() => setStartMethod(null, { force: true }))

forEachStartMethod(method => {
  test('C205 a context reports its method, keeps it, and its children report the same', async () => {
    const context = getContext(method)
    assert.equal(context, getContext(method))
    assert.equal(context, context.getContext())
    assert.equal(context.getStartMethod(), method)
    assert.equal(context.TimeoutError, TimeoutError)
    assert.equal(context.ProcessError, ProcessError)
    assert.equal(context.AuthenticationError, AuthenticationError)
    assert.throws(() => context.setStartMethod('spawn'), { code: 'ERR_INVALID_STATE' })
    const child = new context.Process({
      target: async () => {
        const { getStartMethod, getContext } = await import('multiproc')
        return [getStartMethod({ allowNone: true }), getContext().getStartMethod()]
      },
    })
    child.start()
    assert.deepEqual(await child.result(), [method, method])
    await child.join()
  })

  test('C213 a process of a context does not fix the default start method', async () => {
    const child = new (getContext(method).Process)({ target: () => {} })
    child.start()
    await child.join()
    // Python's get_start_method(True): taken for no options, it would fix the method.
    assert.throws(() => getStartMethod(true as never), { name: 'TypeError', code: 'ERR_INVALID_ARGUMENT' })
    assert.equal(getStartMethod({ allowNone: true }), null)
    assert.throws(() => setStartMethod('spawn', true as never), { code: 'ERR_INVALID_ARGUMENT' })
  })
})

describe('the default start method', () => {
  test('is spawn, the first of all, and is fixed when it is first asked for', () => {
    assert.deepEqual(getAllStartMethods(), ['spawn', 'thread'])
    assert.equal(getStartMethod({ allowNone: true }), null)
    assert.equal(getStartMethod(), 'spawn')
    assert.equal(getStartMethod({ allowNone: true }), 'spawn')
    assert.throws(() => setStartMethod('thread'), { code: 'ERR_INVALID_STATE' })
  })

  test('can be set once, or again with force', async () => {
    setStartMethod('thread')
    assert.throws(() => setStartMethod('thread'), { code: 'ERR_INVALID_STATE' })
    assert.equal(getContext().getStartMethod(), 'thread')
    const child = new Process({ target: () => {} })
    child.start()
    assert.ok(child.threadId! > 0)
    await child.join()
    setStartMethod('spawn', { force: true })
    assert.equal(getStartMethod(), 'spawn')
  })

  test('is fixed by starting a process, not by making one', async () => {
    const child = new Process({ target: () => {} })
    assert.equal(getStartMethod({ allowNone: true }), null)
    child.start()
    assert.equal(getStartMethod({ allowNone: true }), 'spawn')
    await child.join()
  })

  test('cannot be fork, which says why and what to use instead, nor forkserver, which is not there yet', () => {
    assert.throws(() => setStartMethod('fork' as never), {
      code: 'ERR_INVALID_ARGUMENT',
      message: /threads[\s\S]*"spawn"/,
    })
    assert.throws(() => getContext('forkserver' as never), { message: /not available yet/ })
    for (const method of ['nothing', 5, undefined, null]) {
      assert.throws(() => setStartMethod(method as never), { code: 'ERR_INVALID_ARGUMENT' })
    }
    assert.throws(() => new Process({ context: 'fork' as never }).start(), { code: 'ERR_INVALID_ARGUMENT' })
  })
})

test('an upper layer extends contexts: one object per class and method', () => {
  class Extended extends BaseContext {
    readonly extra = `extra of ${this.startMethod}`
  }
  assert.equal(Extended.for('thread').extra, 'extra of thread')
  assert.equal(Extended.for('thread'), Extended.for('thread'))
  assert.notEqual(Extended.for('thread'), getContext('thread'))
  assert.ok(Extended.for('spawn').getContext('thread') instanceof Extended)
  assert.equal(getContext('spawn').Process, SpawnProcess)
  assert.equal(getContext('thread').Process, ThreadProcess)
})

test('types flow from the target to its arguments and its result', () => {
  const target = async (count: number, name: string): Promise<string[]> =>
    Array.from({ length: count }, () => name)
  const child = new Process({ target, args: [1, 'x'] })
  expectTypeOf(child.result).returns.toEqualTypeOf<Promise<string[]>>()
  expectTypeOf(child.join).returns.toEqualTypeOf<Promise<number | null>>()
  expectTypeOf(child.exitCode).toEqualTypeOf<number | null>()
  const plain = new Process({ target: () => 5 })
  expectTypeOf(plain.result).returns.toEqualTypeOf<Promise<number>>()
  const bound = new (getContext('spawn').Process)({ target, args: [1, 'x'] })
  expectTypeOf(bound.result).returns.toEqualTypeOf<Promise<string[]>>()
  class Subclass extends Process<[], number> {
    override run(): number {
      return 1
    }
  }
  expectTypeOf(new Subclass().result).returns.toEqualTypeOf<Promise<number>>()
  const refused = [
    // @ts-expect-error -- The arguments are missing.
    () => new Process({ target }),
    // @ts-expect-error -- One is missing.
    () => new Process({ target, args: [1] }),
    // @ts-expect-error -- They are of other types.
    () => new Process({ target, args: ['x', 1] }),
  ]
  assert.equal(refused.length, 3)
})
