/** Condition: who is notified goes on, also when others that were notified or had the lock are killed; nobody hangs. */
import { Condition, Lock, OwnerDiedError, RLock, sharedArray } from 'multiproc'
import { type Desk, Place, Violation } from '../desk.js'
import type { Round, Scenario } from '../round.js'

const ACTORS = 5
const TICKETS_MAX = 20

interface Shared {
  condition: Condition
  /** Of the condition: those that are there, all that were made, all that were used, deaths that were told. */
  counts: Int32Array
}

const COUNT = { tickets: 0, made: 1, used: 2, told: 3, isNothingMade: 4 } as const

async function enter({ condition, counts }: Shared, isSync: boolean): Promise<void> {
  try {
    if (isSync) condition.acquireSync()
    else await condition.acquire()
  } catch (error) {
    if (!(error instanceof OwnerDiedError)) throw error
    counts[COUNT.told]!++
  }
}

export async function makeTickets(desk: Desk, shared: Shared): Promise<void> {
  const place = new Place(desk)
  const { condition, counts } = shared
  while (!place.isStopped) {
    await place.work()
    place.phase = 'waiting'
    await enter(shared, place.random(2) === 0)
    place.phase = 'inside'
    const count = 1 + place.random(2)
    const isWanted = counts[COUNT.tickets]! < TICKETS_MAX && Atomics.load(counts, COUNT.isNothingMade) === 0
    if (isWanted) {
      counts[COUNT.tickets]! += count
      counts[COUNT.made]! += count
    }
    condition.notify(count)
    condition.release()
    place.phase = 'between'
    if (isWanted) place.count()
    else await new Promise(resolve => setImmediate(resolve))
  }
}

export async function useTickets(desk: Desk, shared: Shared): Promise<void> {
  const place = new Place(desk)
  const { condition, counts } = shared
  const isReady = (): boolean => counts[COUNT.tickets]! > 0 || place.isStopped
  while (!place.isStopped) {
    await enter(shared, place.random(2) === 0)
    place.phase = 'waiting'
    try {
      if (place.random(2) === 0) await condition.waitFor(isReady)
      else condition.waitForSync(isReady)
    } catch (error) {
      // The lock is held now, as after acquire().
      if (!(error instanceof OwnerDiedError)) throw error
      counts[COUNT.told]!++
    }
    place.phase = 'inside'
    if (counts[COUNT.tickets]! < 0) throw new Violation(`There are ${counts[COUNT.tickets]} tickets`)
    if (counts[COUNT.tickets]! > 0) {
      counts[COUNT.tickets]!--
      counts[COUNT.used]!++
    }
    condition.release()
    place.phase = 'between'
    place.count()
    await place.work()
  }
}

export const conditions: Scenario = {
  name: 'conditions',
  methods: 'sharing',
  async run(round: Round) {
    const condition = new Condition(round.random(2) === 0 ? new Lock() : new RLock())
    const shared: Shared = { condition, counts: sharedArray(Int32Array, 5) }
    const { counts } = shared
    await round.disturb(ACTORS, index => round.start(index < 2 ? makeTickets : useTickets, shared))
    // Nothing more is made. A notification that went to one that was killed after it had taken it is gone, so all look.
    Atomics.store(counts, COUNT.isNothingMade, 1)
    await condition.acquire({ recover: true })
    condition.notifyAll()
    condition.release()
    await round.until('the last tickets to be used', () => Atomics.load(counts, COUNT.tickets) === 0)
    const difference = Math.abs(counts[COUNT.made]! - counts[COUNT.used]!)
    // Whoever was killed between two stores has made or used up to two tickets that are not counted.
    if (difference > 2 * round.kills) round.fail(`${difference} tickets are missing`)
    if (counts[COUNT.told]! > round.kills)
      round.fail(`${round.kills} were killed, and ${counts[COUNT.told]} were told`)
    await round.finish(() => {
      if (!condition.acquireSync({ timeout: 0, recover: true })) return
      condition.notifyAll()
      condition.release()
    })
  },
}
