/** Barrier: it breaks when one inside is killed, works again after reset(), and lets pass as many as there are parties. */
import { Barrier, BrokenBarrierError } from 'multiproc'
import { type Desk, Place, Violation } from '../desk.js'
import type { Round, Scenario } from '../round.js'
import { openWords, type WordsHandle } from '../words.js'

const PARTIES = 4

interface Shared {
  barrier: Barrier
  /** By index: how many have passed with it. Behind them: the number of repairs. */
  passed: WordsHandle
}

/** An actor notes, below 0, the repair that it waits for. */
export async function passBarriers(desk: Desk, { barrier, ...handles }: Shared): Promise<void> {
  const place = new Place(desk)
  const passed = openWords(handles.passed)
  while (!place.isStopped) {
    const repairs = passed.load(PARTIES)
    place.table.setNote(place.id, 0)
    place.phase = 'inside'
    try {
      const index = place.random(2) === 0 ? await barrier.wait() : barrier.waitSync()
      if (index < 0 || index >= PARTIES) throw new Violation(`The index is ${index} of ${PARTIES}`)
      passed.add(index, 1)
      place.count()
    } catch (error) {
      if (!(error instanceof BrokenBarrierError)) throw error
      place.table.setNote(place.id, -1 - repairs)
      place.phase = 'waiting'
      // Sleep: there is nothing to wait for that would not be under test itself.
      while (!place.isStopped && passed.load(PARTIES) === repairs) await new Promise(setImmediate)
    }
    place.phase = 'between'
    await place.work()
  }
}

export const barriers: Scenario = {
  name: 'barriers',
  isNativeOnly: false,
  async run(round: Round) {
    const shared: Shared = { barrier: new Barrier(PARTIES), passed: round.words(PARTIES + 1) }
    const { barrier } = shared
    const passed = openWords(shared.passed)
    const state = { hasEnded: false }
    const repair = async (): Promise<void> => {
      while (!state.hasEnded) {
        await round.until('the barrier to break', () => state.hasEnded || barrier.isBroken)
        if (state.hasEnded) return
        const repairs = passed.load(PARTIES)
        // Everybody is told, or comes later.
        await round.until(
          'nobody to be inside a broken barrier',
          () => state.hasEnded || barrier.nWaiting === 0,
        )
        barrier.reset()
        passed.store(PARTIES, repairs + 1)
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
    const counts = Array.from(passed.all().subarray(0, PARTIES))
    // Whoever was killed may have passed and not counted itself.
    if (Math.max(...counts) - Math.min(...counts) > round.kills)
      round.fail(`The indexes came so often: ${counts.join(', ')}`)
  },
}
