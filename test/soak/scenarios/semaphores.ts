/** Semaphore and BoundedSemaphore: never more permits in living hands than there are; after all deaths all are back. */
import { BoundedSemaphore, OwnerDiedError, Semaphore } from 'multiproc'
import { type Desk, Place, type Table, Violation } from '../desk.js'
import type { Round, Scenario } from '../round.js'

const ACTORS = 5
const SNAPSHOTS_MAX = 20

type Shared = readonly { semaphore: Semaphore; permits: number }[]

/**
 * How many that nobody has killed have a permit of semaphore `which`; `undefined` when they change too quickly to say.
 * A note is a number that goes up, then one byte: 0, or the semaphore + 1. So two equal looks are one moment.
 */
function holders(table: Table, which: number): number[] | undefined {
  let before = table.notes()
  for (let attempt = 0; attempt < SNAPSHOTS_MAX; attempt++) {
    const now = table.notes()
    if (now.every((note, index) => note === before[index])) {
      return Array.from(now).flatMap((note, index) => {
        return (note & 255) === which + 1 && !table.isKilled(index + 1) ? [index + 1] : []
      })
    }
    before = now
  }
  return undefined
}

export async function usePermits(desk: Desk, shared: Shared): Promise<void> {
  const place = new Place(desk)
  let changes = 0
  const note = (which: number): void => place.table.setNote(place.id, (++changes << 8) | which)
  while (!place.isStopped) {
    const which = place.random(shared.length)
    const { semaphore, permits } = shared[which]!
    place.phase = 'waiting'
    try {
      const timeout = place.random(4) === 0 ? place.random(3) : undefined
      const isSync = place.random(2) === 0
      if (!(isSync ? semaphore.acquireSync({ timeout }) : await semaphore.acquire({ timeout }))) continue
    } catch (error) {
      // It has the permit of one that was killed.
      if (!(error instanceof OwnerDiedError)) throw error
    }
    note(which + 1)
    place.phase = 'inside'
    const who = holders(place.table, which)
    if (who !== undefined && who.length > permits) {
      throw new Violation(`${who.join(', ')} have the ${permits} permits of semaphore ${which}`)
    }
    await place.work()
    note(0)
    semaphore.release()
    place.phase = 'between'
    place.count()
  }
}

export const semaphores: Scenario = {
  name: 'semaphores',
  isNativeOnly: false,
  async run(round: Round) {
    const shared: Shared = [
      { semaphore: new Semaphore(1), permits: 1 },
      { semaphore: new BoundedSemaphore(3), permits: 3 },
    ]
    await round.disturb(ACTORS, () => round.start(usePermits, shared))
    await round.finish()
    for (const [which, { semaphore, permits }] of shared.entries()) {
      if (semaphore.getValue() !== permits)
        round.fail(`Semaphore ${which} has ${semaphore.getValue()} permits of ${permits}`)
    }
  },
}
