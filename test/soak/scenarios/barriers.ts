/** Barrier: it breaks when one inside is killed, works again after reset(), and lets pass as many as there are parties. */
import { Barrier, BrokenBarrierError, sharedArray } from 'multiproc'
import { type Desk, Place, Violation } from '../desk.js'
import type { Round, Scenario } from '../round.js'

const PARTIES = 4

interface Shared {
  barrier: Barrier
  /** By index: how many have passed with it. Behind them: the number of repairs. */
  passed: Int32Array
}

/** An actor notes, below 0, the repair that it waits for. */
export async function passBarriers(desk: Desk, { barrier, passed }: Shared): Promise<void> {
  const place = new Place(desk)
  while (!place.isStopped) {
    const repairs = Atomics.load(passed, PARTIES)
    place.table.setNote(place.id, 0)
    place.phase = 'inside'
    try {
      const index = place.random(2) === 0 ? await barrier.wait() : barrier.waitSync()
      if (index < 0 || index >= PARTIES) throw new Violation(`The index is ${index} of ${PARTIES}`)
      Atomics.add(passed, index, 1)
      place.count()
    } catch (error) {
      if (!(error instanceof BrokenBarrierError)) throw error
      place.table.setNote(place.id, -1 - repairs)
      place.phase = 'waiting'
      // Sleep: there is nothing to wait for that would not be under test itself.
      while (!place.isStopped && Atomics.load(passed, PARTIES) === repairs) await new Promise(setImmediate)
    }
    place.phase = 'between'
    await place.work()
  }
}

export const barriers: Scenario = {
  name: 'barriers',
  methods: 'sharing',
  async run(round: Round) {
    const shared: Shared = { barrier: new Barrier(PARTIES), passed: sharedArray(Int32Array, PARTIES + 1) }
    const { barrier, passed } = shared
    const state = { hasEnded: false }
    const repair = async (): Promise<void> => {
      while (!state.hasEnded) {
        await round.until('the barrier to break', () => state.hasEnded || barrier.isBroken)
        if (state.hasEnded) return
        const repairs = Atomics.load(passed, PARTIES)
        // Everybody is told, or comes later.
        await round.until(
          'nobody to be inside a broken barrier',
          () => state.hasEnded || barrier.nWaiting === 0,
        )
        barrier.reset()
        Atomics.store(passed, PARTIES, repairs + 1)
        round.operations++
      }
    }
    const repairing = repair()
    await Promise.race([repairing, round.disturb(PARTIES, () => round.start(passBarriers, shared))])
    // All parties are here, and none is killed any more.
    await round.progress(undefined, 3 * PARTIES)
    state.hasEnded = true
    await repairing
    await round.finish(() => barrier.abort())
    const counts = Array.from(passed.subarray(0, PARTIES))
    // Whoever was killed may have passed and not counted itself.
    if (Math.max(...counts) - Math.min(...counts) > round.kills)
      round.fail(`The indexes came so often: ${counts.join(', ')}`)
  },
}
