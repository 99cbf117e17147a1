/**
 * Maps of many items, while workers are killed, items timed out, maps called off and the pool resized: each item has one
 * outcome, and none that has ended is run again.
 */
import { Pool, TimeoutError, WorkerDiedError, currentTask } from 'multiproc'
import { spin } from '../desk.js'
import type { Round, Scenario } from '../round.js'
import { openWords, type Words, type WordsHandle } from '../words.js'

const ITEMS = 100_000
const WORKERS_MAX = 4
const ITEM_MS_MAX = 150

/** By the last bits of its pid: whether a worker has begun an item, and so has loaded the function. */
const BEGUN_WORDS = 2 ** 16
let begun: Words | undefined
/** How often each item of each map has ended. */
let ended: Words | undefined

export function beginWorker(begunHandle: WordsHandle, endedHandle: WordsHandle): void {
  begun = openWords(begunHandle)
  ended = openWords(endedHandle)
}

/** What an item does follows from its number: nearly all do next to nothing, and a few never end. */
type Deed = 'hang' | 'wait' | 'compute' | 'nothing'

function deedOf(item: number): Deed {
  const lot = (Math.imul(item + 1, 0x9e3779b1) >>> 0) % 20_000
  if (lot === 0) return 'hang'
  if (lot < 20) return 'wait'
  return lot < 200 ? 'compute' : 'nothing'
}

export function runItem(item: number): number | Promise<number> {
  const deed = deedOf(item)
  begun?.store(process.pid % BEGUN_WORDS, process.pid)
  begun = undefined
  const end = (): number => {
    ended!.add(item, 1)
    return 2 * item + 1
  }
  if (deed === 'hang') {
    // Half of them end when they are told to, and half are killed.
    return new Promise((_resolve, reject) => {
      if (item % 2 === 0) currentTask().signal.addEventListener('abort', () => reject(new Error('told')))
    })
  }
  // Sleep: an item that waits is killed as well.
  if (deed === 'wait') return new Promise(resolve => setTimeout(() => resolve(end()), 1))
  if (deed === 'compute') spin(200)
  return end()
}

const CALLED_OFF = 'called off by the round'

/** One map over the items from `first` on. */
async function checkMap(round: Round, pool: Pool, { first, count }: { first: number; count: number }) {
  const controller = new AbortController()
  const abortsAfterMs = round.random(3) === 0 ? round.random(1500) : undefined
  const timer =
    abortsAfterMs === undefined ? undefined : setTimeout(() => controller.abort(CALLED_OFF), abortsAfterMs)
  const items = Array.from({ length: count }, (_, index) => first + index)
  const outcomes = await round.within(
    `a map of ${count} items`,
    pool.mapSettled(runItem, items, {
      timeout: ITEM_MS_MAX,
      gracePeriod: round.random(2) * 20,
      priority: round.random(2),
      signal: controller.signal,
    }),
  )
  clearTimeout(timer)
  if (outcomes.length !== count) round.fail(`${outcomes.length} outcomes of ${count} items`)
  let died = 0
  let timedOut = 0
  for (const [index, outcome] of outcomes.entries()) {
    const item = first + index
    if (outcome.status === 'fulfilled') {
      if (outcome.value !== 2 * item + 1) round.fail(`Item ${item} became ${outcome.value}`)
      round.operations++
    } else if (outcome.reason instanceof WorkerDiedError) died++
    else if (outcome.reason instanceof TimeoutError) timedOut++
    else if (outcome.reason !== CALLED_OFF) throw outcome.reason
  }
  return {
    died,
    timedOut,
    fulfilled: outcomes.flatMap(({ status }, index) => (status === 'fulfilled' ? [first + index] : [])),
  }
}

async function disturb(round: Round, pool: Pool, begun: Words, hasEnded: () => boolean): Promise<void> {
  while (!hasEnded()) {
    await round.pause(round.random(150))
    if (round.random(3) === 0) await round.within('a resize', pool.resize(1 + round.random(WORKERS_MAX)))
    if (round.method === 'thread') continue
    const ready = pool.stats().workers.filter(({ state, items, pid }) => {
      return state === 'ready' && items > 0 && begun.load(pid! % BEGUN_WORDS) === pid
    })
    if (ready.length === 0 || hasEnded()) continue
    try {
      process.kill(ready[round.random(ready.length)]!.pid!, 'SIGKILL')
    } catch (error) {
      // It has ended by itself: it was one too many, or its item was timed out.
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') continue
      throw error
    }
    round.kills++
  }
}

export const maps: Scenario = {
  name: 'maps',
  isNativeOnly: false,
  async run(round: Round) {
    const [begunHandle, endedHandle] = [round.words(BEGUN_WORDS), round.words(2 * ITEMS)]
    const pool = new Pool({
      processes: 2,
      context: round.method,
      initializer: beginWorker,
      initArgs: [begunHandle, endedHandle],
    })
    const counts = openWords(endedHandle)
    const state = { hasEnded: false }
    const killsBefore = round.kills
    const disturbing = disturb(round, pool, openWords(begunHandle), () => state.hasEnded)
    const both = await Promise.race([
      Promise.all([
        checkMap(round, pool, { first: 0, count: ITEMS }),
        checkMap(round, pool, { first: ITEMS, count: 1 + round.random(ITEMS) }),
      ]),
      disturbing.then(() => round.fail('The disturbance ended before the maps')),
    ])
    state.hasEnded = true
    await disturbing
    pool.close()
    await round.within('a pool to end', pool.join())
    // Nobody can kill a thread of a pool from outside; those that never end are terminated.
    if (round.method === 'thread') round.kills += both[0].timedOut + both[1].timedOut
    const died = both[0].died + both[1].died
    if (round.method === 'spawn' && died > round.kills - killsBefore)
      round.fail(`${died} items were lost with ${round.kills - killsBefore} workers`)
    const endings = counts.all()
    const twice = endings.findIndex(count => count > 1)
    if (twice >= 0) round.fail(`Item ${twice} has ended ${endings[twice]} times`)
    for (const { fulfilled } of both) {
      const missing = fulfilled.find(item => endings[item] !== 1)
      if (missing !== undefined) round.fail(`Item ${missing} has a result and has not ended`)
    }
  },
}
