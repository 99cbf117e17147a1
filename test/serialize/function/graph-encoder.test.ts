import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { runInThisContext } from 'node:vm'
import { ModuleLoadError, Pool, SerializeError } from 'multiproc'
import { describeClass } from '#src/serialize/function/class-description.js'
import { decodeGraph, loadModules } from '#src/serialize/function/graph-decoder.js'
import { encodeGraph, type EncodeOptions } from '#src/serialize/function/graph-encoder.js'
import { hostName } from '#src/platform/host-name.js'
import { inspector } from '#src/serialize/function/inspector-session.js'

/** Sends a value through plain data and back into this process. */
async function copy<T>(value: T, options?: EncodeOptions & { attachments?: unknown[] }): Promise<T> {
  const { modules, body } = structuredClone(encodeGraph(value, options))
  await loadModules(modules)
  return decodeGraph(body, { attachments: options?.attachments ?? [] }) as T
}

const factor = 3

test('encodeGraph() leaves the debugger disabled, also when it throws', () => {
  const session = inspector()
  assert.ok(session)
  const askDebugger = () => session['post']('Debugger.getScriptSource', { scriptId: '1' })
  const fresh = () => runInThisContext(`x => x + ${Math.random()}`) as () => unknown
  encodeGraph(fresh())
  assert.throws(askDebugger, /not enabled/)
  const promise = Promise.resolve()
  assert.throws(() => encodeGraph([fresh(), () => promise]), SerializeError)
  assert.throws(askDebugger, /not enabled/)
  session.use(() => {
    session.scripts()
    assert.doesNotThrow(() => session['post']('Debugger.setSkipAllPauses', { skip: false }))
  })
  assert.throws(askDebugger, /not enabled/)
})

test('encodeGraph() gives the same payload again for functions that capture nothing, and for imports', () => {
  const timeless = (x: number) => x * 2
  assert.equal(encodeGraph(timeless), encodeGraph(timeless))
  assert.equal(encodeGraph(Pool), encodeGraph(Pool))
  const captures = (x: number) => x * factor
  assert.notEqual(encodeGraph(captures), encodeGraph(captures))
})

test('encodeGraph() notices what was added to a function since', async () => {
  const fn: { (): unknown; extra?: number } = () => 1
  encodeGraph(fn)
  fn.extra = 5
  assert.equal((await copy(fn)).extra, 5)
})

test('encodeGraph() reads captured values anew at each call', async () => {
  let n = 1
  const read = () => n
  assert.equal((await copy(read))(), 1)
  n = 2
  assert.equal((await copy(read))(), 2)
})

test('the library’s own classes travel by reference', async () => {
  assert.equal(await copy(SerializeError), SerializeError)
})

test('encodeGraph() hands objects that travel beside the payload to attach()', async () => {
  const port = { port: true }
  const options = { attach: (value: object) => (value === port ? 0 : undefined), attachments: [port] }
  const [same, again] = (await copy([port, { port }], options)) as [unknown, { port: unknown }]
  assert.equal(same, port)
  assert.equal(again.port, port)
})

test('encodeGraph() does not count what the caller passes against the limit of captures', async () => {
  const records = Array.from({ length: 30_000 }, (_, id) => ({ id, name: `record ${id}` }))
  const message = { fn: (x: number) => x * factor, records }
  const back = await copy(message)
  assert.equal(back.records.length, 30_000)
  assert.deepEqual(back.records[29_999], { id: 29_999, name: 'record 29999' })
})

test('encodeGraph() sends the functions of a module by value when asked to', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'exported.mjs')
  writeFileSync(file, 'const k = 5\nexport function plus(x) { return x + k }\n')
  const { plus } = (await import(pathToFileURL(file).href)) as { plus: (x: number) => number }
  assert.equal(encodeGraph(plus).modules.length, 1)
  const { modules, body } = encodeGraph(plus, { byValue: url => url.endsWith('exported.mjs') })
  assert.equal(modules.length, 0)
  assert.equal((decodeGraph(structuredClone(body)) as typeof plus)(1), 6)
})

test('loadModules() rejects with ModuleLoadError, which says whether the code may be sent instead', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const throwing = pathToFileURL(join(directory, 'throwing.mjs')).href
  writeFileSync(new URL(throwing), 'throw new Error("on purpose")')
  const missing = pathToFileURL(join(directory, 'missing.mjs')).href
  const rejectsFor = (url: string, canSendByValue: boolean) =>
    assert.rejects(
      async () => loadModules([{ kind: 'esm', url }]),
      (error: unknown) => {
        assert.ok(error instanceof ModuleLoadError)
        assert.equal(error.url, url)
        assert.equal(error.canSendByValue, canSendByValue)
        assert.equal(error.code, 'ERR_NOT_DESERIALIZABLE')
        return true
      },
    )
  await rejectsFor(missing, true)
  await rejectsFor(throwing, false)
  assert.throws(() => loadModules([{ kind: 'cjs', url: missing }]), ModuleLoadError)
})

test('a function of the library is found where the receiver has the library', async () => {
  const { modules, body } = structuredClone(encodeGraph(hostName))
  assert.equal(modules.length, 1)
  // As from a machine that has it in a folder which is not here.
  for (const module of new Set([...modules, ...(body as { modules: typeof modules }).modules]))
    module.url = module.url.replace(/^.*\/dist\//, 'file:///nowhere/dist/')
  assert.match(modules[0]!.url, /^file:\/\/\/nowhere\//)
  await loadModules(modules)
  assert.equal(decodeGraph(body, { attachments: [] }), hostName)
})

test('loadModules() has nothing to wait for when all modules are loaded', async () => {
  const module = { kind: 'esm' as const, url: 'node:path' }
  await loadModules([module])
  assert.equal(loadModules([module, { kind: 'cjs', url: 'node:os' }]), undefined)
})

test('describeClass() tells what a codec needs to know of a class', () => {
  class Plain {
    x = 1
  }
  class Sealed {
    #x = 1
    get() {
      return this.#x
    }
  }
  class Below extends Sealed {}
  class Captures {
    get() {
      return factor
    }
  }
  assert.deepEqual([describeClass(Plain).cacheable, describeClass(Plain).hasPrivateFields], [true, false])
  assert.equal(describeClass(Sealed).hasPrivateFields, true)
  assert.equal(describeClass(Below).hasPrivateFields, true)
  assert.equal(describeClass(Captures).cacheable, false)
  assert.deepEqual([describeClass(Map).cacheable, describeClass(Map).hasPrivateFields], [true, false])
})
