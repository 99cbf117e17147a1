/** Many short lives: children are killed while they start, and while they use for the first time what they were given. */
import { Condition, Event, Lock, Pipe, Queue, Semaphore } from 'multiproc'
import { type Desk, Place } from '../desk.js'
import type { Actor, Round, Scenario } from '../round.js'
import { openWords, type WordsHandle } from '../words.js'

const AT_ONCE = 6
const START_MS_MAX = 250

interface Shared {
  lock: Lock
  semaphore: Semaphore
  condition: Condition
  event: Event
  queue: Queue<number>
  words: WordsHandle
}

export async function useAtOnce(desk: Desk, shared: Shared): Promise<void> {
  const place = new Place(desk)
  const { lock, semaphore, condition, event, queue } = shared
  const words = openWords(shared.words)
  const recover = true
  while (!place.isStopped) {
    await lock.acquire({ recover })
    lock.release()
    semaphore.acquireSync({ recover })
    semaphore.release()
    await condition.acquire({ recover })
    condition.notify()
    condition.release()
    event.set()
    queue.putSync(place.id)
    await queue.get({ timeout: 0 }).catch(() => undefined)
    words.add(0, 1)
    const [first, second] = Pipe<number>()
    await first.send(place.id)
    await second.recv()
    first.close()
    second.close()
    place.count()
    await place.work()
  }
}

export const churn: Scenario = {
  name: 'churn',
  isNativeOnly: false,
  async run(round: Round) {
    const shared: Shared = {
      lock: new Lock(),
      semaphore: new Semaphore(2),
      condition: new Condition(),
      event: new Event(),
      queue: new Queue<number>(),
      words: round.words(1000),
    }
    const actors: Actor[] = []
    while (round.kills < round.plannedKills) {
      while (actors.length < AT_ONCE) actors.push(round.start(useAtOnce, shared))
      await round.pause(round.random(START_MS_MAX / AT_ONCE))
      const [victim] = actors.splice(round.random(actors.length), 1)
      round.kill(victim!)
      if (round.kills % AT_ONCE === 0) await round.endsOfKilled()
    }
    await round.finish()
    if (shared.semaphore.getValue() !== 2)
      round.fail(`The semaphore has ${shared.semaphore.getValue()} permits of 2`)
    shared.queue.close()
  },
}
