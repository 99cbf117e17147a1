/**
 * What a manager keeps, used by clients that are killed in the midst of their calls: its locks have one owner each, what
 * was written stays written, no item of a queue comes twice, and nothing is kept for the dead.
 */
import {
  type DictProxy,
  type LockProxy,
  Manager,
  OwnerDiedError,
  QueueEmptyError,
  type QueueProxy,
} from 'multiproc'
import { type Desk, Place, Violation } from '../desk.js'
import type { Round, Scenario } from '../round.js'
import { openWords, type WordsHandle } from '../words.js'

const ACTORS = 4
const TOKENS = 12
const OBJECTS = 3
/** Fields of the words that all actors share; those behind them say who has each token. */
const OWNER = 0
const TOLD = 1
const LOCKED = 2
const UPDATED = 3
const HOLDERS = 4

interface Shared {
  lock: LockProxy
  dict: DictProxy<string, number>
  queue: QueueProxy<number>
  words: WordsHandle
}

async function acquire(lock: LockProxy): Promise<'free' | 'told'> {
  try {
    await lock.acquire()
    return 'free'
  } catch (error) {
    if (error instanceof OwnerDiedError) return 'told'
    throw error
  }
}

/** Adds one to a number in the steps that a lock keeps together. */
async function addLocked(place: Place, { lock, dict, words: handle }: Shared): Promise<void> {
  const words = openWords(handle)
  const how = await acquire(lock)
  const before = words.exchange(OWNER, place.id)
  if (before !== 0 && (how === 'free' || !place.table.isKilled(before)))
    throw new Violation(`${place.id} has the lock (${how}), which belongs to ${before}`)
  if (how === 'told') words.add(TOLD, 1)
  place.phase = 'inside'
  const count = (await dict.get('locked')) ?? 0
  await place.work()
  await dict.set('locked', count + 1)
  words.add(LOCKED, 1)
  const after = words.exchange(OWNER, 0)
  if (after !== place.id) throw new Violation(`${after} took the lock while ${place.id} had it`)
  await lock.release()
}

async function addAtOnce({ dict, words }: Shared): Promise<void> {
  await dict.update('updated', (count = 0) => count + 1)
  openWords(words).add(UPDATED, 1)
}

/** Takes a token, has it for a while, and gives it back. */
async function holdToken(place: Place, { queue, words: handle }: Shared): Promise<void> {
  const words = openWords(handle)
  let token: number
  try {
    token = await queue.get({ timeout: 5 })
  } catch (error) {
    if (error instanceof QueueEmptyError) return
    throw error
  }
  const before = words.exchange(HOLDERS + token, place.id)
  if (before !== 0) throw new Violation(`${place.id} got token ${token}, which ${before} has`)
  await place.work()
  words.store(HOLDERS + token, 0)
  await queue.put(token)
}

export async function useManager(desk: Desk, shared: Shared): Promise<void> {
  const place = new Place(desk)
  while (!place.isStopped) {
    place.phase = 'waiting'
    const kind = place.random(3)
    if (kind === 0) await addLocked(place, shared)
    else if (kind === 1) await addAtOnce(shared)
    else await holdToken(place, shared)
    place.phase = 'between'
    place.count()
  }
}

export const managers: Scenario = {
  name: 'managers',
  isNativeOnly: false,
  async run(round: Round) {
    await using manager = await Manager({ context: round.method })
    const shared: Shared = {
      lock: await manager.Lock(),
      dict: await manager.dict<string, number>(),
      queue: await manager.Queue<number>(),
      words: round.words(HOLDERS + TOKENS),
    }
    for (let token = 0; token < TOKENS; token++) await shared.queue.put(token)
    await round.disturb(ACTORS, () => round.start(useManager, shared))
    await round.finish()
    const words = openWords(shared.words)
    if (words.load(TOLD) > round.kills)
      round.fail(`${round.kills} were killed, and ${words.load(TOLD)} were told of it`)
    // What was written and not yet counted when its writer was killed.
    for (const [name, field] of [
      ['locked', LOCKED],
      ['updated', UPDATED],
    ] as const) {
      const kept = (await shared.dict.get(name)) ?? 0
      const counted = words.load(field)
      if (kept < counted || kept > counted + round.kills)
        round.fail(`"${name}" is ${kept} in the manager, and ${counted} were counted`)
    }
    const how = await acquire(shared.lock)
    const owner = words.load(OWNER)
    if (owner !== 0 && how === 'free') round.fail(`Nobody was told that ${owner} had ended with the lock`)
    await shared.lock.release()
    const lost = TOKENS - (await shared.queue.qsize())
    if (lost < 0 || lost > round.kills) round.fail(`${lost} of ${TOKENS} tokens are gone`)
    let objects = 0
    for (const giveUpAt = performance.now() + 10_000; performance.now() < giveUpAt;) {
      objects = await manager.numberOfObjects()
      if (objects === OBJECTS) return
      // Sleep: the manager learns of the end of a client when its event loop has had a turn.
      await round.pause(5)
    }
    round.fail(`The manager keeps ${objects} objects instead of ${OBJECTS}`)
  },
}
