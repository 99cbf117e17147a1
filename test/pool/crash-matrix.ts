/**
 * Every stage of a task's life times everything that can go wrong in it: what the caller sees, that the neighbours of
 * the item are not harmed, and that the pool works afterwards. Several test files share it, and
 * MULTIPROC_NATIVE=0 tries the same by portable means. Threads are spared what ends the whole program.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { BrokenPoolError, Pool, type ProcessError, type StartMethod, WorkerDiedError } from 'multiproc'
import {
  type Deed,
  OnDecode,
  afterwards,
  deeds,
  endsTheProgram,
  inAsyncTask,
  inTask,
  initialize,
  withArgument,
  withResult,
} from './deeds.js'
import { square } from './tasks.js'

const stages = ['argument decode', 'function load', 'task', 'async task', 'result encode'] as const
type Stage = (typeof stages)[number]

const timeout = 300
/** Of the heap, in MiB: what is used up is used up soon. */
const heapMax = 40

/** What became of an item, in a few words. */
function inWords(outcome: PromiseSettledResult<unknown>): string {
  if (outcome.status === 'fulfilled') return `gives ${String(outcome.value)}`
  const reason: unknown = outcome.reason
  if (reason instanceof WorkerDiedError) return `died: ${reason.reason}`
  const { code, name } = reason as Partial<ProcessError>
  return typeof reason === 'string' ? `threw ${reason}` : `failed: ${code ?? name}`
}

/** What the caller sees of the item; several where it depends on who is faster. */
const usual: Record<Deed, string[]> = {
  throw: ['failed: RangeError'],
  'throw a text': ['threw thrown on purpose'],
  'exit 0': ['died: exit'],
  'exit 7': ['died: exit'],
  abort: ['died: crash'],
  SIGKILL: ['died: killed'],
  SIGSEGV: ['died: crash'],
  'out of memory': ['died: outOfMemory'],
  'stack overflow': ['failed: RangeError'],
  'endless loop': ['failed: ERR_TIMEOUT'],
  unsendable: ['failed: ERR_RESULT_NOT_SERIALIZABLE'],
  // What is computed already may still get through: it goes through memory, or was written down.
  'close the channel': ['gives closed', 'died: channel', 'died: exit'],
  'block the event loop': ['gives blocked'],
}

const undecodable = ['failed: ERR_NOT_DESERIALIZABLE']
const unsendable = ['failed: ERR_RESULT_NOT_SERIALIZABLE']

/** Where a stage differs. */
const different: Record<Stage, Partial<Record<Deed, string[]>>> = {
  'argument decode': { 'stack overflow': undecodable },
  'function load': { throw: undecodable, 'throw a text': undecodable, 'stack overflow': undecodable },
  task: {},
  // It waits for what can never come.
  'async task': { 'close the channel': ['died: channel', 'died: exit'] },
  'result encode': { throw: unsendable, 'throw a text': unsendable, 'stack overflow': unsendable },
}

/** The cells of one stage share a pool, so they come one after the other; stages run beside each other. */
const besideEachOther = { concurrency: 3 }
const oneByOne = { concurrency: 1 }

/** Declares the tests of the stages of an item. */
export function crashesOfItems(method: StartMethod): void {
  describe(`crashes with an item, ${method}`, besideEachOther, () => {
    for (const stage of stages) describe(stage, oneByOne, () => stageTests(stage, method))
  })
}

/** Declares the tests of the stages without an item. */
export function crashesOfInitializers(method: StartMethod): void {
  describe('initializer', oneByOne, () => initializerTests(method))
}

export function crashesOfIdleWorkers(method: StartMethod): void {
  describe('idle', oneByOne, () => idleTests(method))
}

/** One pool for the cells of a stage: a worker that was killed is replaced. */
function poolOfStage(method: StartMethod): () => Pool {
  let pool: Pool | undefined
  after(async () => await pool?.terminate())
  return () => (pool ??= makePool(method))
}

function makePool(method: StartMethod): Pool {
  return new Pool({
    processes: 1,
    context: method,
    gracePeriod: 0,
    resourceLimits: { maxOldGenerationSizeMb: heapMax },
  })
}

function stageTests(stage: Stage, method: StartMethod): void {
  const pool = poolOfStage(method)
  const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  for (const deed of deeds) {
    if (endsTheProgram(deed, method)) continue
    const expected = different[stage][deed] ?? usual[deed]
    test(`${deed}: the item ${expected.join(', or ')}`, async () => {
      const settled = await runStage(stage, deed, { pool: pool(), method, folder })
      const [before, item, behind] = settled.map(inWords)
      assert.ok(expected.includes(item!), `${item} is none of: ${expected.join(', ')}`)
      // A function that cannot be loaded fails all of its items, and any other failure only its own.
      if (stage === 'function load') assert.ok(expected.includes(before!) && expected.includes(behind!))
      else {
        assert.equal(before, 'gives harmless')
        // A worker that can send nothing any more computes until it notices, and that may be in the next item.
        const isCutOff = deed === 'close the channel' && /^died: (?:exit|channel)$/.test(behind!)
        assert.ok(behind === 'gives harmless' || isCutOff, behind)
      }
      assert.equal(await pool().apply(square, [3]), 9)
    })
  }
}

function initializerTests(method: StartMethod): void {
  for (const deed of deeds) {
    if (endsTheProgram(deed, method)) continue
    const isHarmless = ['unsendable', 'block the event loop'].includes(deed)
    const code = ['throw', 'throw a text', 'stack overflow', 'endless loop'].includes(deed)
      ? 'ERR_INITIALIZER_FAILED'
      : 'ERR_START_FAILED'
    test(`${deed}: ${isHarmless ? 'the pool works' : `the pool is broken, ${code}`}`, async () => {
      await using own = new Pool({
        processes: 1,
        context: method,
        initializer: initialize,
        initArgs: [deed],
        initializerTimeout: deed === 'endless loop' ? 1000 : Infinity,
        resourceLimits: { maxOldGenerationSizeMb: heapMax },
      })
      const [outcome] = await Promise.allSettled([own.apply(square, [3])])
      if (isHarmless) {
        assert.deepEqual(outcome, { status: 'fulfilled', value: 9 })
        return
      }
      assert.ok(outcome.status === 'rejected' && outcome.reason instanceof BrokenPoolError)
      assert.equal(outcome.reason.code, code)
    })
  }
}

function idleTests(method: StartMethod): void {
  for (const deed of deeds) {
    // Nothing is returned or sent by an idle worker.
    if (endsTheProgram(deed, method) || deed === 'unsendable') continue
    test(`${deed}: the next call has its result`, async () => {
      // A pool for each: whether the deed is done before the next call arrives, or behind it, is a matter of chance.
      const pool = makePool(method)
      try {
        // What the next call needs is loaded before: the deed would be done while that waits for its module.
        assert.equal(await pool.apply(square, [2]), 4)
        await pool.apply(afterwards, [deed])
        assert.equal(await pool.apply(square, [3], { timeout: 5 * timeout }), 9)
      } finally {
        await pool.terminate()
      }
    })
  }
}

async function runStage(
  stage: Stage,
  deed: Deed,
  { pool, method, folder }: { pool: Pool; method: StartMethod; folder: string },
): Promise<PromiseSettledResult<unknown>[]> {
  const options = { chunkSize: 3, timeout: deed === 'endless loop' ? timeout : Infinity }
  switch (stage) {
    case 'argument decode':
      return await pool.mapSettled(withArgument, ['harmless', new OnDecode(deed), 'harmless'], options)
    case 'function load':
      return await pool.mapSettled(await deadlyFunction(deed, { method, folder }), [0, 1, 2], options)
    case 'task':
      return await pool.mapSettled(inTask, ['harmless', deed, 'harmless'], options)
    case 'async task':
      return await pool.mapSettled(inAsyncTask, ['harmless', deed, 'harmless'], options)
    default:
      return await pool.mapSettled(withResult, ['harmless', deed, 'harmless'], options)
  }
}

/** A function whose module does the deed when a worker imports it. */
async function deadlyFunction(
  deed: Deed,
  { method, folder }: { method: StartMethod; folder: string },
): Promise<(x: number) => unknown> {
  const file = join(folder, `${deed.replaceAll(' ', '-')}.mjs`)
  const isHere = method === 'thread' ? 'isMainThread' : 'globalThis.isTestProcess'
  writeFileSync(
    file,
    `import { isMainThread } from 'node:worker_threads'
     import { commit } from ${JSON.stringify(new URL('./deeds.js', import.meta.url).href)}
     const value = ${isHere} ? undefined : commit(${JSON.stringify(deed)})
     export const task = () => value`,
  )
  ;(globalThis as { isTestProcess?: boolean }).isTestProcess = true
  const { task } = (await import(file)) as { task: (x: number) => unknown }
  return task
}
