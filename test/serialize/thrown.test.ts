import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { inspect, types } from 'node:util'
import vm from 'node:vm'
import { RemoteError, SerializeError, TimeoutError, WorkerDiedError } from 'multiproc'
import { decodeThrown, encode, encodeThrown } from '#src/serialize/codec.js'
import { assertSame, roundTrip } from './round-trip.js'

const origin = { pid: 4711, workerName: 'worker 3' }

function travel(thrown: unknown, callerStack?: string): unknown {
  return decodeThrown(encodeThrown(thrown), { ...origin, callerStack })
}

function travelError(thrown: Error, callerStack?: string): Error & Record<string, unknown> {
  const result = travel(thrown, callerStack)
  assert.ok(types.isNativeError(result))
  return result as Error & Record<string, unknown>
}

for (const thrown of ['text', '', null, undefined, 0, -0, 5n, true, Symbol.for('s'), { code: 7 }, [1, 2]]) {
  test(`what was thrown arrives as thrown: ${inspect(thrown)}`, () => assertSame(travel(thrown), thrown))
}

for (const constructor of [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError]) {
  test(`a ${constructor.name} keeps class, message, stack and fields`, () => {
    const error = Object.assign(new constructor('broken'), { code: 'E_BROKEN', details: { list: [1] } })
    const result = travelError(error)
    assert.equal(Object.getPrototypeOf(result), constructor.prototype)
    assert.equal(result.message, 'broken')
    assert.equal(result.stack, error.stack)
    assert.equal(result['code'], 'E_BROKEN')
    assert.deepEqual(result['details'], { list: [1] })
    assert.deepEqual(Object.keys(result), ['code', 'details'])
    assert.equal(String(result), `${constructor.name}: broken`)
  })
}

test('an error without a message has none of its own', () => {
  assert.equal(Object.hasOwn(roundTrip(new Error()), 'message'), false)
})

test('AggregateError keeps its errors, in order', () => {
  const error = new AggregateError([new TypeError('a'), 'text', new RangeError('b')], 'many')
  const result = travelError(error) as unknown as AggregateError
  assert.ok(result instanceof AggregateError)
  assert.ok(result.errors[0] instanceof TypeError && result.errors[2] instanceof RangeError)
  assert.equal(result.errors[1], 'text')
  assert.equal(Object.keys(result).length, 0)
})

test('our own errors keep class, code and facts', () => {
  const died = new WorkerDiedError('gone', {
    pid: 5,
    workerName: 'w',
    exitCode: null,
    signal: 'SIGKILL',
    taskIndex: 3,
  })
  const result = travelError(died)
  assert.ok(result instanceof WorkerDiedError)
  assert.deepEqual(
    [result.signal, result.taskIndex, result.code, result.name],
    ['SIGKILL', 3, 'ERR_WORKER_DIED', 'WorkerDiedError'],
  )
  assert.ok(travel(new TimeoutError('late')) instanceof TimeoutError)
  const refused = travel(new SerializeError('no', { path: ['a', '.b'] }))
  assert.ok(refused instanceof SerializeError)
  assert.deepEqual(refused.path, ['a', '.b'])
})

test('a system error keeps errno, code, syscall and path', () => {
  let thrown: unknown
  try {
    readFileSync('/does/not/exist')
  } catch (error) {
    thrown = error
  }
  const result = travelError(thrown as Error)
  assert.deepEqual([result['code'], result['syscall'], result['path']], ['ENOENT', 'open', '/does/not/exist'])
})

test("an error of Node's own classes keeps name, message and code", () => {
  let thrown: unknown
  try {
    Buffer.alloc('x' as unknown as number)
  } catch (error) {
    thrown = error
  }
  const result = travelError(thrown as Error)
  assert.ok(result instanceof TypeError)
  assert.equal(result['code'], 'ERR_INVALID_ARG_TYPE')
  assert.equal(result.name, 'TypeError')
})

test('an error of another realm arrives as the class of this one', () => {
  const result = travelError(vm.runInNewContext('new RangeError("far")') as Error)
  assert.ok(result instanceof RangeError)
  assert.equal(result.message, 'far')
})

test('causes are kept down the chain, and a RemoteError is at its end', () => {
  const error = new Error('top', { cause: new TypeError('middle', { cause: new RangeError('bottom') }) })
  const result = travelError(error)
  const middle = result.cause as Error
  const bottom = middle.cause as Error
  const remote = bottom.cause
  assert.ok(middle instanceof TypeError && bottom instanceof RangeError && remote instanceof RemoteError)
  assert.deepEqual([remote.pid, remote.workerName, remote.stack], [4711, 'worker 3', error.stack])
  assert.match(remote.message, /worker 3.*4711/)
  assert.equal(Object.keys(bottom).includes('cause'), false)
})

test('a chain of causes that has a RemoteError gets no second one', () => {
  const once = travelError(new Error('x'))
  const twice = decodeThrown(encodeThrown(once), { pid: 1, workerName: 'outer' }) as Error
  assert.ok(twice.cause instanceof RemoteError)
  assert.equal(twice.cause.workerName, 'worker 3')
  assert.equal(twice.cause.cause, undefined)
})

test('a cycle of causes ends', () => {
  const a = new Error('a')
  const b = new Error('b', { cause: a })
  a.cause = b
  const result = travelError(a)
  assert.equal(((result.cause as Error).cause as Error).message, 'a')
  assert.equal((result.cause as Error).cause, result)
})

test('a cause that is no error stays', () => {
  assert.equal(travelError(new Error('x', { cause: 'text' })).cause, 'text')
})

test("the caller's frames follow those of the worker", () => {
  const error = new Error('x')
  const result = travelError(error, 'Error\n    at caller (file:///a.ts:1:2)\n    at main (file:///a.ts:3:4)')
  assert.equal(
    result.stack,
    `${error.stack}\n    --- called from ---\n    at caller (file:///a.ts:1:2)\n    at main (file:///a.ts:3:4)`,
  )
  assert.equal((result.cause as Error).stack, error.stack)
})

test('a field that cannot be sent becomes a short description, and the rest arrives', () => {
  const error = Object.assign(new Error('x'), {
    promise: Promise.resolve(),
    list: [1, 2],
    response: { socket: new WeakRef({}), status: 500 },
    after: 'ok',
  })
  Object.defineProperty(error, 'getter', { get: () => assert.fail('x'), enumerable: true })
  const result = travelError(error)
  assert.equal(result.message, 'x')
  assert.match(String(result['promise']), /Promise/)
  assert.match(String(result['response']), /WeakRef/)
  assert.deepEqual(result['list'], [1, 2])
  assert.equal(result['after'], 'ok')
  assert.equal(typeof result['getter'], 'string')
})

test('encode() names the field of an error that cannot be sent', () => {
  assert.throws(() => encode({ error: Object.assign(new Error('x'), { promise: Promise.resolve() }) }), {
    code: 'ERR_NOT_SERIALIZABLE',
    path: ['.error', '.promise'],
  })
})

class Strange extends Error {
  constructor() {
    super('strange')
    if (Strange.isFinished) throw new Error('the constructor must not run again')
    Strange.isFinished = true
  }
  static isFinished = false
}

test('the constructor of an error class does not run again', () => {
  const result = travelError(new Strange())
  assert.equal(result.message, 'strange')
  // By its class where classes can be sent, else by its name alone.
  assert.ok(result.constructor.name === 'Strange' || result.name === 'Strange')
})

test('an error whose class cannot be sent arrives under its name', () => {
  const hidden = (() => {
    const secret = Promise.resolve()
    return class HiddenError extends TypeError {
      secret(): unknown {
        return secret
      }
    }
  })()
  const result = travelError(new hidden('x'))
  assert.ok(result instanceof TypeError)
  assert.equal(result.name, 'HiddenError')
})

test('errors made by old means are errors there', () => {
  function OldError(this: { message: string }, message: string): void {
    this.message = message
  }
  OldError.prototype = Object.create(Error.prototype) as object
  const result = travelError(new (OldError as unknown as new (message: string) => Error)('old'))
  assert.equal(result.message, 'old')
})

const hostileThings: Record<string, () => unknown> = {
  'proxy of an error': () => new Proxy(new Error('x'), {}),
  'proxy whose traps throw': () =>
    new Proxy(new Error('x'), new Proxy({}, { get: () => assert.fail('a trap was looked up') })),
  function: () => () => 1,
  promise: () => Promise.resolve(1),
  'unregistered symbol': () => Symbol('mine'),
  'error with a throwing message': () =>
    Object.defineProperty(new Error('x'), 'message', {
      get() {
        throw new Error('no')
      },
    }),
  'error with a throwing stack': () =>
    Object.defineProperty(new Error('x'), 'stack', {
      get() {
        throw new Error('no')
      },
    }),
  'error with a throwing name': () =>
    Object.defineProperty(new Error('x'), 'name', {
      get() {
        throw new Error('no')
      },
    }),
  'error with an odd message': () => Object.assign(new Error('x'), { message: { odd: true } }),
  'frozen error': () => Object.freeze(new Error('x')),
  'error without a prototype': () => Object.setPrototypeOf(new Error('x'), null) as Error,
  'error with a throwing toStringTag': () =>
    Object.defineProperty(new Error('x'), Symbol.toStringTag, {
      get() {
        throw new Error('no')
      },
    }),
  'object with a throwing toJSON, getter and toStringTag': () => ({
    toJSON() {
      throw new Error('no')
    },
    get bad(): never {
      throw new Error('no')
    },
    get [Symbol.toStringTag](): never {
      throw new Error('no')
    },
  }),
  'object that holds a promise': () => ({ a: 1, promise: Promise.resolve() }),
  'error nested 3000 deep': () => {
    let error = new Error('0')
    for (let i = 0; i < 3000; i++) error = new Error(String(i), { cause: error })
    return error
  },
  'object with no prototype': () => Object.create(null) as object,
  'weird class': () =>
    new (class extends Error {
      override get name(): string {
        throw new Error('no')
      }
    })('x'),
}
for (const [name, make] of Object.entries(hostileThings)) {
  test(`encodeThrown() never throws: ${name}`, () => {
    const result = travel(make())
    assert.ok(['object', 'string', 'symbol', 'function'].includes(typeof result))
  })
}

test('a broken Error.prepareStackTrace does not stop an error', () => {
  const before = Error.prepareStackTrace
  Error.prepareStackTrace = () => {
    throw new Error('no')
  }
  let bytes
  try {
    bytes = encodeThrown(new Error('x'))
  } finally {
    Error.prepareStackTrace = before
  }
  assert.equal((decodeThrown(bytes, origin) as Error).message, 'x')
})
