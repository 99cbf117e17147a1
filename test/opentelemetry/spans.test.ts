/** Spans of OpenTelemetry: calls, tasks and processes, linked and nested in time, and each with its end. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, afterEach, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { SpanStatusCode, context as otelContext, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { Pool, Process, ProcessPoolExecutor, WorkerDiedError, currentTask } from 'multiproc'
import { instrument } from 'multiproc/opentelemetry'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'
import { square } from '../pool/tasks.js'

checkLeaks()

const root = fileURLToPath(new URL('../../../', import.meta.url))
const fixture = fileURLToPath(new URL('../../../test/fixtures/instrumented.mjs', import.meta.url))
const exporter = new InMemorySpanExporter()
const contextManager = new AsyncLocalStorageContextManager().enable()
otelContext.setGlobalContextManager(contextManager)
propagation.setGlobalPropagator(new W3CTraceContextPropagator())
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
trace.setGlobalTracerProvider(provider)
const instrumentation = instrument()
after(() => {
  instrumentation.stop()
  contextManager.disable()
})
afterEach(() => exporter.reset())

/** Runs `work` within a span, and gives that span when it has ended. */
async function inRequest(work: () => Promise<unknown>): Promise<ReadableSpan> {
  return trace.getTracer('test').startActiveSpan('request', async span => {
    try {
      await work()
    } finally {
      span.end()
    }
    return span as unknown as ReadableSpan
  })
}

const idOf = (span: ReadableSpan): string => span.spanContext().spanId
const nsOf = ([seconds, nanoseconds]: ReadableSpan['startTime']): bigint =>
  BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)

/** The finished spans within one. */
function childrenOf(parent: ReadableSpan): ReadableSpan[] {
  return exporter.getFinishedSpans().filter(span => span.parentSpanContext?.spanId === idOf(parent))
}

/** Of spans that the SDK itself has timed: it takes the whole milliseconds of the time of day. */
const SDK_NS = 1_000_000n
/** A number of milliseconds since 1970 has no place for more than a quarter of a microsecond. */
const OWN_NS = 1000n

function assertWithin(inner: ReadableSpan, outer: ReadableSpan, toleranceNs = OWN_NS): void {
  const told = `${inner.name} in ${outer.name}`
  assert.equal(inner.spanContext().traceId, outer.spanContext().traceId, told)
  assert.ok(nsOf(outer.startTime) <= nsOf(inner.startTime) + toleranceNs, told)
  assert.ok(nsOf(inner.startTime) <= nsOf(inner.endTime), told)
  assert.ok(nsOf(inner.endTime) <= nsOf(outer.endTime) + toleranceNs, told)
}

const exceptionOf = (span: ReadableSpan): unknown =>
  span.events.find(({ name }) => name === 'exception')?.attributes?.['exception.type']

forEachStartMethod(context => {
  describe('instrument()', () => {
    test('makes a span of each call within the active span, and of its tasks within that', async () => {
      await using pool = new Pool({ processes: 2, context, name: 'squares' })
      const request = await inRequest(async () => {
        await pool.map(square, [1, 2, 3, 4, 5, 6], { chunkSize: 3 })
        await Promise.all([pool.apply(square, [7]), pool.apply(square, [8])])
      })
      const calls = childrenOf(request)
      assert.deepEqual(calls.map(({ name }) => name).toSorted(), [
        'apply square',
        'apply square',
        'map square',
      ])
      for (const call of calls) {
        assertWithin(call, request, SDK_NS)
        const tasks = childrenOf(call)
        const isMap = call.name === 'map square'
        assert.equal(tasks.length, isMap ? 2 : 1)
        for (const task of tasks) {
          assertWithin(task, call)
          assert.equal(task.name, 'square')
          assert.match(task.attributes['multiproc.worker.name'] as string, /^PoolWorker-\d$/)
          if (isMap) assert.equal(task.attributes['multiproc.items'], 3)
        }
        const { attributes, status } = call
        assert.deepEqual(
          { ...attributes },
          {
            'code.function.name': 'square',
            'multiproc.pool.name': 'squares',
            'multiproc.method': isMap ? 'map' : 'apply',
            'multiproc.items': isMap ? 6 : 1,
            'multiproc.items.done': isMap ? 6 : 1,
            'multiproc.items.failed': 0,
            'multiproc.outcome': 'finished',
          },
        )
        assert.equal(status.code, SpanStatusCode.UNSET)
      }
    })

    test('records what calls and tasks have thrown, and each run of an item that runs again', async () => {
      await using pool = new Pool({ processes: 1, context })
      const failing = (): number => {
        if (currentTask().attempt < 3) throw new RangeError('on purpose')
        return 1
      }
      const request = await inRequest(async () => {
        await pool.apply(failing, [], { retries: 2 })
        await pool.apply(failing).catch(() => {})
        await pool.mapSettled(failing, [1, 2, 3], { chunkSize: 3 })
      })
      const [again, failed, settled] = childrenOf(request)
      assert.equal(again!.status.code, SpanStatusCode.UNSET)
      assert.deepEqual(
        childrenOf(again!).map(span => [
          span.attributes['multiproc.attempt'],
          span.status.code,
          exceptionOf(span),
        ]),
        [
          [1, SpanStatusCode.ERROR, 'RangeError'],
          [2, SpanStatusCode.ERROR, 'RangeError'],
          [3, SpanStatusCode.UNSET, undefined],
        ],
      )
      assert.deepEqual(
        [failed!.status, exceptionOf(failed!), failed!.attributes['error.type']],
        [{ code: SpanStatusCode.ERROR, message: 'on purpose' }, 'RangeError', 'RangeError'],
      )
      assert.equal(failed!.attributes['multiproc.outcome'], 'failed')
      assert.equal(settled!.attributes['multiproc.items.failed'], 3)
      const [chunk] = childrenOf(settled!)
      assert.deepEqual([chunk!.attributes['multiproc.items.failed'], exceptionOf(chunk!)], [3, 'RangeError'])
    })

    test('ends the spans of a worker that dies, of a call that takes too long and of one that is called off', async () => {
      const pool = new Pool({ processes: 1, context })
      const forEver = async (): Promise<void> => {
        currentTask().report('runs')
        await new Promise(() => setInterval(() => {}, 1000))
      }
      const request = await inRequest(async () => {
        await assert.rejects(pool.apply(() => process.exit(3)).get(), WorkerDiedError)
        await assert.rejects(pool.apply(forEver, [], { timeout: 20 }).get(), { code: 'ERR_TIMEOUT' })
        let run: ReturnType<typeof pool.apply> | undefined
        await new Promise(resolve => {
          run = pool.apply(forEver, [], { onReport: resolve })
        })
        run!.cancel()
        await assert.rejects(run!.get(), { name: 'AbortError' })
        for await (const _ of pool.imap(square, [1, 2, 3], { chunkSize: 1 })) break
        const left = pool.apply(forEver)
        await pool.terminate()
        await assert.rejects(left.get(), { code: 'ERR_TERMINATED' })
      })
      const calls = childrenOf(request)
      assert.deepEqual(
        calls.map(({ attributes, status }) => [
          attributes['multiproc.outcome'],
          attributes['error.type'],
          status.code,
        ]),
        [
          ['failed', 'WorkerDiedError', SpanStatusCode.ERROR],
          ['timed out', 'TimeoutError', SpanStatusCode.ERROR],
          ['cancelled', 'AbortError', SpanStatusCode.ERROR],
          ['stopped', undefined, SpanStatusCode.UNSET],
          ['failed', 'ClosedError', SpanStatusCode.ERROR],
        ],
      )
      for (const call of calls) assertWithin(call, request, SDK_NS)
      const [died] = childrenOf(calls[0]!)
      assert.match(died!.status.message!, /exit code 3/)
      const [stopped] = childrenOf(calls[1]!)
      assert.equal(stopped!.status.code, SpanStatusCode.ERROR)
    })

    test('puts the spans that tasks make into those of their tasks, when the workers load the SDK', async () => {
      await using pool = new Pool({ processes: 1, context, preload: [fixture] })
      type Told = { name: string; id: string; traceId: string; parentId: string; status: number }[]
      type Fixture = { takeSpans(): Told; withSpan<T>(name: string, work: () => T): T }
      const inner = (x: number): number => (globalThis as unknown as Fixture).withSpan(`inner ${x}`, () => x)
      const innerLater = async (x: number): Promise<number> => {
        await new Promise(resolve => setImmediate(resolve))
        return inner(x)
      }
      const request = await inRequest(async () => {
        await pool.map(inner, [1, 2], { chunkSize: 2 })
        await Promise.all([3, 4].map(x => pool.apply(innerLater, [x])))
      })
      const told = await pool.apply(() => (globalThis as unknown as Fixture).takeSpans())
      for (const { traceId } of told.filter(({ name }) => name.startsWith('inner')))
        assert.equal(traceId, request.spanContext().traceId)
      for (const call of childrenOf(request)) {
        // The worker has told of them itself.
        assert.deepEqual(childrenOf(call), [])
        const tasks = told.filter(({ parentId }) => parentId === idOf(call))
        assert.equal(tasks.length, 1, call.name)
        const inside = told.filter(({ parentId }) => parentId === tasks[0]!.id)
        assert.equal(inside.length, call.name === 'map inner' ? 2 : 1)
      }
    })

    test('makes a span of a Process, which ends with it', async () => {
      const request = await inRequest(async () => {
        const well = new Process({ target: square, args: [3], context })
        well.start()
        await well.join()
        const killed = new Process({ target: () => new Promise(() => setInterval(() => {}, 1000)), context })
        killed.start()
        killed.kill()
        await killed.join()
      })
      const [well, killed] = childrenOf(request)
      assert.equal(well!.name, 'process square')
      assert.equal(well!.attributes['process.exit.code'], 0)
      assert.equal(well!.status.code, SpanStatusCode.UNSET)
      assert.equal(killed!.attributes['process.exit.code'], -9)
      assert.match(killed!.status.message!, /SIGKILL/)
      for (const span of [well!, killed!]) assertWithin(span, request, SDK_NS)
    })
  })
})

test('calls of executors have spans', async () => {
  const request = await inRequest(async () => {
    await using executor = new ProcessPoolExecutor(1)
    assert.equal(await executor.submit(square, 3), 9)
    for await (const result of executor.map(square, [2])) assert.equal(result, 4)
  })
  const calls = childrenOf(request)
  assert.deepEqual(
    calls.map(({ name }) => name),
    ['submit square', 'map square'],
  )
  assert.deepEqual(
    calls.map(call => childrenOf(call).length),
    [1, 1],
  )
})

test('there is one instrumentation at a time, and its options are checked', () => {
  assert.throws(() => instrument(), { code: 'ERR_INVALID_STATE' })
  assert.throws(() => instrument({ spans: 'all' } as object), { code: 'ERR_INVALID_ARGUMENT' })
  assert.throws(() => instrument({ span: 'calls' } as object), { code: 'ERR_INVALID_ARGUMENT' })
})

/** Runs a program in a fresh process. */
function run(program: string, env: NodeJS.ProcessEnv = {}): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 60_000,
  })
  assert.equal(status, 0, stderr)
  return stdout
}

test('parent and child are linked also where no propagator is registered', () => {
  const program = `
    import { exporter } from ${JSON.stringify(fixture)}
    import { Pool } from 'multiproc'
    const pool = new Pool({ processes: 1, preload: [${JSON.stringify(fixture)}] })
    await pool.apply(() => globalThis.withSpan('inner', () => 1))
    const told = await pool.apply(() => globalThis.takeSpans())
    await pool.terminate()
    const [call] = exporter.getFinishedSpans()
    const [inner, task] = told
    console.log(inner.name, inner.parentId === task.id, task.parentId === call.spanContext().spanId)`
  assert.equal(run(program, { TEST_PROPAGATOR: 'none' }), 'inner true true\n')
})

test('with "calls" there are no spans of tasks; stop() ends what is open, and no more spans are made', () => {
  const program = `
    import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
    import { Pool } from 'multiproc'
    import { instrument } from 'multiproc/opentelemetry'
    const exporter = new InMemorySpanExporter()
    const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
    const instrumentation = instrument({ tracerProvider, spans: 'calls' })
    const pool = new Pool(1)
    await pool.map(Math.sqrt, [1, 4])
    const open = pool.apply(Math.sqrt, [4])
    instrumentation.stop()
    instrumentation.stop()
    await open
    await pool.apply(Math.sqrt, [9])
    await pool.terminate()
    for (const { name, attributes } of exporter.getFinishedSpans()) console.log(name, attributes['multiproc.outcome'])
    instrument({ tracerProvider }).stop()`
  assert.equal(run(program), 'map sqrt finished\napply sqrt not followed to its end\n')
})

test('without the package of the API, instrument() says what to install, and nothing else needs it', () => {
  const program = `
    import { Module } from 'node:module'
    const resolve = Module._resolveFilename
    Module._resolveFilename = (name, ...rest) => {
      if (!name.startsWith('@opentelemetry/')) return resolve(name, ...rest)
      throw Object.assign(new Error('no such module'), { code: 'MODULE_NOT_FOUND' })
    }
    const { Pool } = await import('multiproc')
    const { instrument } = await import('multiproc/opentelemetry')
    try { instrument() } catch (error) { console.log(error.code, error.message.includes('npm install @opentelemetry/api')) }
    const pool = new Pool(1)
    console.log(await pool.apply(Math.sqrt, [9]))
    await pool.terminate()`
  assert.equal(run(program), 'ERR_NOT_SUPPORTED true\n3\n')
})
