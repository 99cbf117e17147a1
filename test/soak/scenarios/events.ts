/** Event: each set() lets everybody go who waits for it or comes later, whoever is killed meanwhile. */
import { Event } from 'multiproc'
import { type Desk, Place, Violation } from '../desk.js'
import type { Round, Scenario } from '../round.js'
import { openWords, type WordsHandle } from '../words.js'

const ACTORS = 5
const TURN_MS = 3

interface Shared {
  /** They are set by turns. */
  events: [Event, Event]
  /** The number of the last turn. */
  turn: WordsHandle
}

/** An actor notes the last turn that it has seen. */
export async function followTurns(desk: Desk, { events, ...handles }: Shared): Promise<void> {
  const place = new Place(desk)
  const turn = openWords(handles.turn)
  for (let next = turn.load(0) + 1; !place.isStopped; next++) {
    place.phase = 'waiting'
    const event = events[next % 2]!
    const kind = place.random(3)
    const isSet =
      kind === 0 ? event.waitSync() : await event.wait(kind === 1 ? {} : { timeout: place.random(20) })
    if (!isSet) {
      next--
      continue
    }
    const now = turn.load(0)
    if (!place.isStopped && now < next)
      throw new Violation(`${place.id} was told of turn ${next} during turn ${now}`)
    // It may be late, and then has seen what came meanwhile as well.
    next = now
    place.table.setNote(place.id, next)
    place.phase = 'between'
    place.count()
    await place.work()
  }
}

export const events: Scenario = {
  name: 'events',
  isNativeOnly: false,
  async run(round: Round) {
    const shared: Shared = { events: [new Event(), new Event()], turn: round.words(1) }
    const turn = openWords(shared.turn)
    const state = { hasEnded: false }
    const turns = async (): Promise<void> => {
      while (!state.hasEnded) {
        const next = turn.load(0) + 1
        // Nobody waits for the turn after this one before it has seen this one.
        shared.events[(next + 1) % 2]!.clear()
        turn.store(0, next)
        shared.events[next % 2]!.set()
        const here = round.living.filter(({ id }) => round.table.noteOf(id) > 0)
        await round.until(`all to see turn ${next}`, () => {
          return here.every(({ id }) => round.table.isKilled(id) || round.table.noteOf(id) >= next)
        })
        // Sleep: others come and are killed between two turns as well.
        await round.pause(round.random(TURN_MS))
      }
    }
    const turning = turns()
    await Promise.race([turning, round.disturb(ACTORS, () => round.start(followTurns, shared))])
    state.hasEnded = true
    await turning
    await round.finish(() => {
      for (const event of shared.events) event.set()
    })
  },
}
