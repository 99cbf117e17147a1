/**
 * Lock, RLock and the lock of a SharedValue: never two owners; who comes after an owner that was killed is told so,
 * and nobody else is.
 */
import { Lock, OwnerDiedError, RLock, SharedValue } from 'multiproc'
import { type Desk, Place, Violation } from '../desk.js'
import type { Round, Scenario } from '../round.js'
import { openWords, type WordsHandle } from '../words.js'

const ACTORS = 4

interface Shared {
  locks: (Lock | RLock)[]
  value: SharedValue<'int32'>
  /** By lock: the actor that has it, as it says itself; and how often anybody was told of a dead owner. */
  owners: WordsHandle
  told: WordsHandle
}

type How = 'free' | 'told' | 'not'

/** Acquires it in one of all ways. */
async function take(lock: Lock | RLock, random: (limit: number) => number): Promise<How> {
  const timeout = random(4) === 0 ? random(3) : undefined
  try {
    switch (random(4)) {
      case 0:
        return (await lock.acquire({ timeout })) ? 'free' : 'not'
      case 1:
        return lock.acquireSync({ timeout }) ? 'free' : 'not'
      case 2:
        // It is given back by release() as well.
        return (await lock.guard({ recover: true })).ownerDied ? 'told' : 'free'
      default:
        return lock.guardSync({ recover: true }).ownerDied ? 'told' : 'free'
    }
  } catch (error) {
    if (error instanceof OwnerDiedError) return 'told'
    throw error
  }
}

export async function useLocks(desk: Desk, { locks, value, ...handles }: Shared): Promise<void> {
  const place = new Place(desk)
  const owners = openWords(handles.owners)
  const told = openWords(handles.told)
  while (!place.isStopped) {
    const which = place.random(locks.length)
    const lock = locks[which]!
    place.table.setNote(place.id, which)
    place.phase = 'waiting'
    const how = await take(lock, place.random)
    if (how === 'not') continue
    const before = owners.load(which)
    if (before !== 0 && how === 'free') {
      throw new Violation(`${place.id} was not told that ${before} had ended with lock ${which}`)
    }
    if (before !== 0 && !place.table.isKilled(before)) {
      throw new Violation(`${place.id} has lock ${which}, which belongs to ${before}`)
    }
    const meanwhile = owners.exchange(which, place.id)
    if (meanwhile !== before) throw new Violation(`${place.id} and ${meanwhile} have lock ${which}`)
    if (how === 'told') told.add(which, 1)
    place.phase = 'inside'
    const isNested = lock instanceof RLock && place.random(2) === 0
    if (isNested) lock.acquireSync()
    if (lock === value.getLock()) {
      const count = value.value
      await place.work()
      value.value = count + 1
    } else await place.work()
    if (isNested) lock.release()
    const after = owners.exchange(which, 0)
    if (after !== place.id) throw new Violation(`${after} took lock ${which} while ${place.id} had it`)
    lock.release()
    place.phase = 'between'
    place.count()
  }
}

export const locks: Scenario = {
  name: 'locks',
  isNativeOnly: false,
  async run(round: Round) {
    const value = new SharedValue('int32')
    const all = [new Lock(), new RLock(), value.getLock()]
    const shared: Shared = {
      locks: all,
      value,
      owners: round.words(all.length),
      told: round.words(all.length),
    }
    await round.disturb(ACTORS, () => round.start(useLocks, shared))
    await round.finish()
    const told = openWords(shared.told)
      .all()
      .reduce((sum, count) => sum + count, 0)
    if (told > round.kills) round.fail(`${round.kills} were killed, and ${told} were told of it`)
    for (const [which, lock] of all.entries()) {
      const { ownerDied } = lock.guardSync({ recover: true, timeout: 0 })
      const owner = openWords(shared.owners).load(which)
      if (owner !== 0 && !ownerDied) round.fail(`Nobody was told that ${owner} had ended with lock ${which}`)
      lock.release()
    }
  },
}
