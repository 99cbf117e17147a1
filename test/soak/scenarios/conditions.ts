/** Condition: who is notified goes on, also when others that were notified or had the lock are killed; nobody hangs. */
import { Condition, Lock, OwnerDiedError, RLock } from 'multiproc'
import { type Desk, Place, Violation } from '../desk.js'
import type { Round, Scenario } from '../round.js'
import { openWords, type Words, type WordsHandle } from '../words.js'

const ACTORS = 5
const TICKETS_MAX = 20

interface Shared {
  condition: Condition
  /** Of the condition: those that are there, all that were made, all that were used, deaths that were told. */
  counts: WordsHandle
}

const COUNT = { tickets: 0, made: 1, used: 2, told: 3, isNothingMade: 4 } as const

async function enter(condition: Condition, counts: Words, isSync: boolean): Promise<void> {
  try {
    if (isSync) condition.acquireSync()
    else await condition.acquire()
  } catch (error) {
    if (!(error instanceof OwnerDiedError)) throw error
    counts.add(COUNT.told, 1)
  }
}

export async function makeTickets(desk: Desk, { condition, ...handles }: Shared): Promise<void> {
  const place = new Place(desk)
  const counts = openWords(handles.counts)
  while (!place.isStopped) {
    await place.work()
    place.phase = 'waiting'
    await enter(condition, counts, place.random(2) === 0)
    place.phase = 'inside'
    const count = 1 + place.random(2)
    const isWanted = counts.load(COUNT.tickets) < TICKETS_MAX && counts.load(COUNT.isNothingMade) === 0
    if (isWanted) {
      counts.add(COUNT.tickets, count)
      counts.add(COUNT.made, count)
    }
    condition.notify(count)
    condition.release()
    place.phase = 'between'
    if (isWanted) place.count()
    else await new Promise(resolve => setImmediate(resolve))
  }
}

export async function useTickets(desk: Desk, { condition, ...handles }: Shared): Promise<void> {
  const place = new Place(desk)
  const counts = openWords(handles.counts)
  const isReady = (): boolean => counts.load(COUNT.tickets) > 0 || place.isStopped
  while (!place.isStopped) {
    await enter(condition, counts, place.random(2) === 0)
    place.phase = 'waiting'
    try {
      if (place.random(2) === 0) await condition.waitFor(isReady)
      else condition.waitForSync(isReady)
    } catch (error) {
      // The lock is held now, as after acquire().
      if (!(error instanceof OwnerDiedError)) throw error
      counts.add(COUNT.told, 1)
    }
    place.phase = 'inside'
    if (counts.load(COUNT.tickets) < 0) throw new Violation(`There are ${counts.load(COUNT.tickets)} tickets`)
    if (counts.load(COUNT.tickets) > 0) {
      counts.add(COUNT.tickets, -1)
      counts.add(COUNT.used, 1)
    }
    condition.release()
    place.phase = 'between'
    place.count()
    await place.work()
  }
}

export const conditions: Scenario = {
  name: 'conditions',
  isNativeOnly: false,
  async run(round: Round) {
    const condition = new Condition(round.random(2) === 0 ? new Lock() : new RLock())
    const shared: Shared = { condition, counts: round.words(5) }
    const counts = openWords(shared.counts)
    await round.disturb(ACTORS, index => round.start(index < 2 ? makeTickets : useTickets, shared))
    // Nothing more is made. A notification that went to one that was killed after it had taken it is gone, so all look.
    counts.store(COUNT.isNothingMade, 1)
    await condition.acquire({ recover: true })
    condition.notifyAll()
    condition.release()
    await round.until('the last tickets to be used', () => counts.load(COUNT.tickets) === 0)
    const difference = Math.abs(counts.load(COUNT.made) - counts.load(COUNT.used))
    // Whoever was killed between two stores has made or used up to two tickets that are not counted.
    if (difference > 2 * round.kills) round.fail(`${difference} tickets are missing`)
    if (counts.load(COUNT.told) > round.kills)
      round.fail(`${round.kills} were killed, and ${counts.load(COUNT.told)} were told`)
    await round.finish(() => {
      if (!condition.acquireSync({ timeout: 0, recover: true })) return
      condition.notifyAll()
      condition.release()
    })
  },
}
