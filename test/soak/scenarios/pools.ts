/** Pool: each item becomes a value or a WorkerDiedError, once and in its place, whichever workers are killed. */
import { Pool, WorkerDiedError } from 'multiproc'
import { spin } from '../desk.js'
import type { Round, Scenario } from '../round.js'
import { stopProcess } from '../stopping.js'
import { openWords, type Words, type WordsHandle } from '../words.js'

const WORKERS = 3
const ITEMS_MAX = 300

/** By the last bits of its pid: whether a worker has begun an item, and so has loaded the function. */
const BEGUN_WORDS = 2 ** 16
let begun: Words | undefined

export function beginWorker(handle: WordsHandle): void {
  begun = openWords(handle)
}

type Kind = 'apply' | 'mapSettled' | 'imap' | 'imapUnordered'
const KINDS: Kind[] = ['apply', 'mapSettled', 'imap', 'imapUnordered']

interface Item {
  index: number
  microseconds: number
  isAsync: boolean
  /** After which the thread that runs it is to end: nobody can kill a thread of a pool from outside. */
  fuseMs: number | undefined
}

/** One function for all, so that a worker that has finished an item has loaded it: see `killWorkers()`. */
export function work({ index, microseconds, isAsync, fuseMs }: Item): number | Promise<number> {
  begun?.store(process.pid % BEGUN_WORDS, process.pid)
  begun = undefined
  if (fuseMs !== undefined) setTimeout(() => process.exit(), fuseMs)
  const value = index * 3 + 1
  // Sleep: an item that waits is killed as well.
  if (isAsync) return new Promise(resolve => setTimeout(resolve, microseconds / 1000, value))
  if (microseconds > 0) spin(microseconds)
  return value
}

type Outcome = { index: number | undefined; value: number } | { index: number | undefined; error: unknown }

async function* outcomes(pool: Pool, kind: Kind, items: Item[]): AsyncGenerator<Outcome> {
  if (kind === 'mapSettled') {
    const settled = await pool.mapSettled(work, items)
    for (const [index, each] of settled.entries()) {
      yield each.status === 'fulfilled' ? { index, value: each.value } : { index, error: each.reason }
    }
  } else if (kind === 'apply') {
    const results = items.map(item => pool.apply(work, [item]))
    const settled = await Promise.allSettled(results)
    for (const [index, each] of settled.entries()) {
      yield each.status === 'fulfilled' ? { index, value: each.value } : { index, error: each.reason }
    }
  } else {
    const isOrdered = kind === 'imap'
    const iterator = isOrdered ? pool.imap(work, items) : pool.imapUnordered(work, items)
    for (let place = 0; ; place++) {
      const index = isOrdered ? place : undefined
      try {
        const { done, value } = await iterator.next()
        if (done === true) return
        yield { index, value }
      } catch (error) {
        yield { index, error }
      }
    }
  }
}

/** Gives what each item that was lost with a worker was rejected with. */
async function check(round: Round, pool: Pool): Promise<WorkerDiedError[]> {
  const kind = KINDS[round.random(KINDS.length)]!
  const count = 1 + round.random(ITEMS_MAX)
  const isQuick = round.random(4) === 0 && round.method === 'spawn'
  const items = Array.from({ length: count }, (_, index): Item => {
    const isFuse = round.method === 'thread' && round.random(60) === 0 && round.kills < round.plannedKills
    if (isFuse) round.kills++
    return {
      index,
      microseconds: isQuick ? 0 : round.random(3000),
      isAsync: !isQuick && round.random(3) === 0,
      fuseMs: isFuse ? round.random(20) : undefined,
    }
  })
  const values = new Set<number>()
  const died: WorkerDiedError[] = []
  let place = 0
  for await (const outcome of outcomes(pool, kind, items)) {
    place++
    if ('error' in outcome) {
      if (!(outcome.error instanceof WorkerDiedError)) throw outcome.error
      died.push(outcome.error)
      continue
    }
    if (outcome.index !== undefined && outcome.value !== outcome.index * 3 + 1)
      round.fail(`${kind}: item ${outcome.index} of ${count} became ${outcome.value}`)
    if (values.has(outcome.value)) round.fail(`${kind}: ${outcome.value} came twice`)
    values.add(outcome.value)
    round.operations++
  }
  if (place !== count || values.size + died.length !== count)
    round.fail(`${kind}: ${values.size} values and ${died.length} deaths of ${count} items`)
  return died
}

/** Kills workers that have begun, at random moments; waits until threads have ended themselves. */
async function killWorkers(round: Round, pool: Pool, begun: Words): Promise<void> {
  if (round.method === 'thread')
    return await round.until('threads to end', () => round.kills >= round.plannedKills)
  while (round.kills < round.plannedKills) {
    await round.pause(round.random(60))
    // A pool gives up when its workers die before any is ready, and a function of which they die when they load it.
    const ready = pool.stats().workers.filter(({ state, items, pid }) => {
      return state === 'ready' && items > 0 && begun.load(pid! % BEGUN_WORDS) === pid
    })
    if (ready.length === 0) continue
    const { pid } = ready[round.random(ready.length)]!
    if (round.random(5) === 0) {
      stopProcess(pid!)
      await round.pause(round.random(30))
    }
    process.kill(pid!, 'SIGKILL')
    round.kills++
    await round.until('a worker to be replaced', () => {
      const { workers } = pool.stats()
      return workers.length === WORKERS && workers.every(each => each.pid !== pid && each.state === 'ready')
    })
  }
}

export const pools: Scenario = {
  name: 'pools',
  isNativeOnly: false,
  async run(round: Round) {
    const words = round.words(BEGUN_WORDS)
    const pool = new Pool({
      processes: WORKERS,
      context: round.method,
      initializer: beginWorker,
      initArgs: [words],
    })
    const state = { hasEnded: false }
    const died: WorkerDiedError[] = []
    const use = async (): Promise<void> => {
      while (!state.hasEnded) died.push(...(await check(round, pool)))
    }
    const using = use()
    await Promise.race([using, killWorkers(round, pool, openWords(words))])
    state.hasEnded = true
    await round.within('the items of a pool', using)
    if (died.length > round.kills) {
      const messages = died.map(({ message, deaths }) => `${message} (deaths: ${deaths})`)
      round.fail(`${died.length} items were lost with ${round.kills} workers:\n${messages.join('\n')}`)
    }
    if (round.random(2) === 0) {
      pool.close()
      await round.within('a pool to end', pool.join())
    } else await round.within('a pool to be terminated', pool.terminate())
  },
}
