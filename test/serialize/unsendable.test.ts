import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, createSecretKey } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { openSync, createReadStream } from 'node:fs'
import { createServer, Socket } from 'node:net'
import { Readable, Writable } from 'node:stream'
import { test } from 'node:test'
// Sleep: none; a timer's promise is one of the values that cannot be sent.
import { setTimeout as later } from 'node:timers/promises'
import { MessageChannel } from 'node:worker_threads'
import { createGzip } from 'node:zlib'
import { Pool, SerializeError } from 'multiproc'
import { decode, encode } from '#src/serialize/codec.js'
import { assertSame, roundTrip } from './round-trip.js'

function* count(): Generator<number> {
  yield 1
}
async function* countLater(): AsyncGenerator<number> {
  yield 1
}

// The types of WebAssembly belong to the DOM library, which is not loaded here.
const wasm = (globalThis as unknown as { WebAssembly: { Memory: new (options: object) => object } })
  .WebAssembly

const { port1, port2 } = new MessageChannel()
port1.close()
port2.close()
const stream = createReadStream('', { fd: openSync('/dev/null', 'r'), autoClose: true })
stream.destroy()
const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' })

const kinds: Record<string, [value: unknown, name: RegExp]> = {
  promise: [Promise.resolve(1), /a Promise/],
  'promise of a subclass': [
    new (class Mine extends Promise<number> {})(resolve => resolve(1)),
    /a (Promise|Mine)/,
  ],
  proxy: [new Proxy({ a: 1 }, {}), /a Proxy/],
  'proxy of an array': [new Proxy([1], {}), /a Proxy/],
  'revoked proxy': [revoked(), /a Proxy/],
  'weak reference': [new WeakRef({}), /a WeakRef/],
  'finalization registry': [new FinalizationRegistry(() => {}), /a FinalizationRegistry/],
  generator: [count(), /a Generator/],
  'async generator': [countLater(), /an AsyncGenerator/],
  'array iterator': [[1].values(), /an? .*Iterator/],
  'map iterator': [new Map().keys(), /an? .*Iterator/],
  'text iterator': ['a'[Symbol.iterator](), /an? .*Iterator/],
  socket: [new Socket(), /a Socket/],
  server: [createServer(), /a Server/],
  'readable stream': [Readable.from([1]), /a Readable/],
  'writable stream': [new Writable(), /a Writable/],
  'file stream': [stream, /a ReadStream/],
  'zlib stream': [createGzip(), /a Gzip/],
  'web stream': [new ReadableStream(), /a ReadableStream/],
  'child process': [child, /a ChildProcess/],
  'abort signal': [new AbortController().signal, /an AbortSignal/],
  'abort controller': [new AbortController(), /an AbortController/],
  'message port': [port1, /a MessagePort/],
  'shared array buffer': [new SharedArrayBuffer(8), /a SharedArrayBuffer/],
  'Intl object': [new Intl.NumberFormat('en'), /a NumberFormat/],
  'WebAssembly memory': [new wasm.Memory({ initial: 1 }), /a Memory/],
  hash: [createHash('sha256'), /a Hash/],
  'secret key': [createSecretKey(Buffer.from('k')), /a \w*Key\w*/],
  blob: [new Blob(['a']), /a Blob/],
}

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

for (const [kind, [value, name]] of Object.entries(kinds)) {
  test(`encode() refuses by name and place, and stays well: ${kind}`, () => {
    const message = { a: [1, { 'b c': new Map([['k', value]]) }] }
    assert.throws(
      () => encode(message, { rootName: 'argument 0' }),
      (error: unknown) => {
        assert.ok(error instanceof SerializeError)
        assert.equal(error.code, 'ERR_NOT_SERIALIZABLE')
        assert.deepEqual(error.path, ['argument 0', '.a', '[1]', '["b c"]', '.get("k")'])
        assert.match(error.message, name)
        assert.match(error.message, /\nTo fix: /)
        return true
      },
    )
    assert.throws(() => encode(value), { code: 'ERR_NOT_SERIALIZABLE', path: [] })
    assert.throws(() => encode([1, 2, 3, value]), { code: 'ERR_NOT_SERIALIZABLE', path: ['[3]'] })
    assert.throws(() => encode(Array.from({ length: 20 }, (_, i) => ({ i, x: i === 10 ? value : 0 }))), {
      code: 'ERR_NOT_SERIALIZABLE',
      path: ['[10]', '.x'],
    })
    assertSame(roundTrip({ next: [1, 2] }), { next: [1, 2] })
  })
}

test('what only Node.js has a class for is refused by name and place: a timer, the global object', () => {
  const timer = setInterval(() => {}, 1e6)
  clearInterval(timer)
  for (const [value, name] of [
    [timer, /\.a -> \[0\] is a Timeout of Node\.js/],
    [globalThis, /\.a\[0\] is a global object/],
  ] as const) {
    assert.throws(() => encode({ a: [value] }, { rootName: 'item 3' }), {
      code: 'ERR_NOT_SERIALIZABLE',
      path: ['item 3', '.a', '[0]'],
      message: name,
    })
  }
})

test('an object of this library that belongs to its process is refused by name', async () => {
  const pool = new Pool(1)
  const result = pool.map(String, [1])
  assert.throws(() => encode({ pool }), { path: ['the value', '.pool'], message: /is a Pool of multiproc/ })
  assert.throws(() => encode([result]), {
    path: ['the value', '[0]'],
    message: /is an AsyncResult of multiproc/,
  })
  await result
  await pool.terminate()
})

test('a method with a private name is refused with the place where it is', () => {
  class Vault {
    #gold = 1
    more(): () => number {
      return () => this.#gold + 1
    }
  }
  assert.throws(() => encode(new Vault().more()), {
    code: 'ERR_NOT_SERIALIZABLE',
    message: /uses the private name #gold \(.*unsendable\.test\.[jt]s:\d+\)/,
  })
})

test('a view of a SharedArrayBuffer is refused, naming the buffer', () => {
  assert.throws(() => encode({ view: new Int32Array(new SharedArrayBuffer(8)) }), {
    code: 'ERR_NOT_SERIALIZABLE',
    path: ['.view', '.buffer'],
  })
})

test('a value in a Set is found, and so is a key of a Map', () => {
  const promise = Promise.resolve()
  assert.throws(() => encode(new Set([1, promise])), { path: ['.values()[1]'] })
  assert.throws(() => encode(new Map([[promise, 1]])), { path: ['.key(object)'] })
})

test('encode() runs no proxy trap', () => {
  const trapped = new Proxy({}, new Proxy({}, { get: () => assert.fail('a trap was looked up') }))
  assert.throws(() => encode([trapped]), { code: 'ERR_NOT_SERIALIZABLE' })
  assert.throws(() => encode([{ trapped }, { trapped }, { trapped }, { trapped }]), {
    code: 'ERR_NOT_SERIALIZABLE',
  })
})

test('what a transport attaches travels beside the bytes', () => {
  const shared = new SharedArrayBuffer(8)
  const view = new Int32Array(shared)
  const attachments: object[] = []
  const attach = (value: object): number | undefined => {
    if (!(value instanceof SharedArrayBuffer)) return undefined
    const index = attachments.indexOf(value)
    return index >= 0 ? index : attachments.push(value) - 1
  }
  const bytes = encode({ shared, view, again: shared, plain: new Uint8Array(2) }, { attach })
  assert.deepEqual(attachments, [shared])
  const result = decode(bytes, { attachments }) as { shared: unknown; view: Int32Array; again: unknown }
  assert.equal(result.shared, shared)
  assert.equal(result.again, shared)
  view[1] = 5
  assert.equal(result.view[1], 5)
  assert.throws(() => decode(bytes), { code: 'ERR_NOT_DESERIALIZABLE' })
})

test('encode() called by a reducer, or failing in the middle, leaves the next message clean', async () => {
  const circular: Record<string, unknown> = { big: 'x'.repeat(200_000), list: [1, 2, 3] }
  circular['self'] = circular
  circular['promise'] = later(1)
  for (let i = 0; i < 100; i++) {
    assert.throws(() => encode(circular), { path: ['.promise'] })
    assertSame(roundTrip({ i, list: [{ a: i }] }), { i, list: [{ a: i }] })
  }
  await circular['promise']
})

test('the events of an EventEmitter are no part of an error about it', () => {
  const emitter = new EventEmitter()
  emitter.on('x', () => {})
  assert.throws(() => encode({ emitter, socket: new Socket() }), SerializeError)
})
