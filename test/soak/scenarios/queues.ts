/**
 * Queue, SimpleQueue and JoinableQueue: each item is taken once at most, whole, in the order of its producer, and is
 * lost only with a consumer that was killed when it had just taken it.
 */
import { ClosedError, JoinableQueue, Queue, QueueEmptyError, SimpleQueue } from 'multiproc'
import { ACTORS_MAX, type Desk, Place, Violation } from '../desk.js'
import type { Actor, Round, Scenario } from '../round.js'
import { openWords, type Words, type WordsHandle } from '../words.js'

const PRODUCERS = 2
const CONSUMERS = 3
const BATCH_MAX = 4
const WAITING_MAX = 200
/** By producer. Beyond it, a producer begins to wait for its end. */
const ITEMS_MAX = 20_000

interface Item {
  producer: number
  number: number
  bytes: Uint8Array
}

type AnyQueue = Queue<Item> | SimpleQueue<Item>

interface Shared {
  queue: AnyQueue
  /** By producer: how many of its items are surely in the queue. */
  put: WordsHandle
  /** By producer and number: whether it was taken. */
  taken: WordsHandle
  sizeMax: number
}

/** Mostly small ones; some that make the ring grow, some that go around it. */
function sizeOf(random: (limit: number) => number, sizeMax: number): number {
  const kind = random(60)
  if (kind === 0) return 1 + random(sizeMax)
  return 1 + random(kind < 6 ? 30_000 : 300)
}

const byteAt = (producer: number, number: number, index: number): number =>
  (producer * 31 + number * 7 + index) & 255

/** Bytes that tell at both ends and in between whether they belong to this item. */
function fill(producer: number, number: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(byteAt(producer, number, 0))
  for (let index = 0; index < length; index += 61) bytes[index] = byteAt(producer, number, index)
  bytes[length - 1] = byteAt(producer, number, length - 1)
  return bytes
}

function isWhole({ producer, number, bytes }: Item): boolean {
  for (let index = 0; index < bytes.length; index += 61) {
    if (bytes[index] !== byteAt(producer, number, index)) return false
  }
  return bytes.at(-1) === byteAt(producer, number, bytes.length - 1)
}

/** The queue of this scenario may be without a limit. */
function isLong(queue: AnyQueue): boolean {
  return queue instanceof Queue && queue.qsize() > WAITING_MAX
}

export async function produce(desk: Desk, { queue, sizeMax, ...handles }: Shared): Promise<void> {
  const place = new Place(desk)
  const put = openWords(handles.put)
  for (let number = 0; !place.isStopped && number < ITEMS_MAX - BATCH_MAX;) {
    const count = queue instanceof Queue && place.random(3) === 0 ? 1 + place.random(BATCH_MAX) : 1
    const items = Array.from({ length: count }, (_, ahead): Item => {
      const bytes = fill(place.id, number + ahead, sizeOf(place.random, sizeMax))
      return { producer: place.id, number: number + ahead, bytes }
    })
    place.phase = 'waiting'
    const isSync = place.random(2) === 0
    if (count > 1) {
      const many = queue as Queue<Item>
      if (isSync) many.putManySync(items)
      else await many.putMany(items)
    } else if (isSync) queue.putSync(items[0]!)
    else await queue.put(items[0]!)
    number += count
    put.store(place.id, number)
    place.phase = 'between'
    place.count()
    // Consumers are slower: what is not taken stays within some megabytes.
    await place.work()
    while (!place.isStopped && isLong(queue)) await place.work()
  }
  // The kills of this round took long, and nobody else may be left who does anything.
  // Sleep: until the end of the round.
  for (; !place.isStopped; place.count()) await new Promise(resolve => setTimeout(resolve, 1))
}

async function take(queue: AnyQueue, random: (limit: number) => number): Promise<Item[]> {
  const timeout = random(4) === 0 ? random(10) : 1000
  try {
    if (random(2) === 0) return [queue.getSync({ timeout })]
    if (queue instanceof Queue && random(2) === 0)
      return await queue.getMany({ max: 1 + random(BATCH_MAX), timeout })
    return [await queue.get({ timeout })]
  } catch (error) {
    if (error instanceof QueueEmptyError) return []
    throw error
  }
}

export async function consume(desk: Desk, { queue, ...handles }: Shared): Promise<void> {
  const place = new Place(desk)
  const put = openWords(handles.put)
  const taken = openWords(handles.taken)
  const last = new Map<number, number>()
  for (;;) {
    place.phase = 'waiting'
    let items: Item[]
    try {
      items = await take(queue, place.random)
    } catch (error) {
      if (error instanceof ClosedError) return
      throw error
    }
    place.phase = 'inside'
    for (const item of items) {
      check(item, put, last)
      if (taken.add(item.producer * ITEMS_MAX + item.number, 1) !== 0)
        throw new Violation(`Item ${item.number} of ${item.producer} was taken twice`)
      if (queue instanceof JoinableQueue) queue.taskDone()
      place.count()
    }
    // A SimpleQueue has no shutdown().
    if (items.length === 0 && place.isStopped && queue instanceof SimpleQueue) return
    if (items.length > 0 && place.random(8) === 0) await place.work()
  }
}

function check(item: Item, put: Words, last: Map<number, number>): void {
  const { producer, number } = item
  if (!isWhole(item)) throw new Violation(`Item ${number} of ${producer} is damaged`)
  if (number >= put.load(producer) + BATCH_MAX) throw new Violation(`Item ${number} was never put`)
  if (number <= (last.get(producer) ?? -1)) {
    throw new Violation(`Item ${number} of ${producer} came after ${last.get(producer)}`)
  }
  last.set(producer, number)
}

/** Takes what is left, as the consumers do. */
async function drain({ queue, ...handles }: Shared): Promise<void> {
  const put = openWords(handles.put)
  const taken = openWords(handles.taken)
  while (!queue.empty()) {
    const item = await queue.get()
    check(item, put, new Map())
    if (taken.add(item.producer * ITEMS_MAX + item.number, 1) !== 0)
      throw new Violation(`Item ${item.number} of ${item.producer} was taken twice`)
  }
}

/** Says that the tasks of killed consumers are done, and joins. Gives how many these were. */
async function joined(queue: JoinableQueue<Item>, round: Round): Promise<number> {
  for (let count = 0; ; count++) {
    try {
      queue.taskDone()
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_INVALID_STATE') throw error
      await round.within('join() of a queue whose tasks are done', queue.join())
      return count
    }
  }
}

export const queues: Scenario = {
  name: 'queues',
  isNativeOnly: false,
  async run(round: Round) {
    const kinds: (() => AnyQueue)[] = [
      () => new Queue<Item>(),
      () => new Queue<Item>({ maxSize: 1 + round.random(20) }),
      () => new JoinableQueue<Item>(),
      () => new SimpleQueue<Item>(),
    ]
    const queue = kinds[round.random(kinds.length)]!()
    const producers = PRODUCERS + CONSUMERS + round.plannedKills + 1
    const shared: Shared = {
      queue,
      put: round.words(ACTORS_MAX),
      taken: round.words(producers * ITEMS_MAX),
      sizeMax: 2 ** (10 + round.random(12)),
    }
    await round.disturb(PRODUCERS + CONSUMERS, index => {
      return round.start(index < PRODUCERS ? produce : consume, shared)
    })
    round.table.stop()
    const isConsumer = ({ title }: Actor): boolean => title.startsWith(consume.name)
    await round.until('the producers to end', () => {
      return round.living.every(each => isConsumer(each) || round.table.phaseOf(each.id) === 'ended')
    })
    if (queue instanceof Queue) {
      await round.until('the queue to be empty', () => queue.qsize() === 0)
      queue.shutdown()
    }
    await round.finish()
    if (queue instanceof SimpleQueue) await drain(shared)
    // A consumer that was killed may have had so many in its hands.
    const lostMax =
      round.actors.filter(each => isConsumer(each) && round.table.isKilled(each.id)).length * BATCH_MAX
    let lost = 0
    const put = openWords(shared.put)
    const taken = openWords(shared.taken).all()
    for (let producer = 1; producer < producers; producer++) {
      const numbers = taken.subarray(producer * ITEMS_MAX, producer * ITEMS_MAX + put.load(producer))
      lost += numbers.filter(count => count === 0).length
    }
    if (lost > lostMax)
      round.fail(`${lost} items are lost, and only ${lostMax} were in the hands of the dead`)
    if (queue instanceof JoinableQueue) {
      const undone = await joined(queue, round)
      if (undone > lostMax) round.fail(`${undone} tasks were not done, and only ${lostMax} can be`)
    }
    queue.close()
  },
}
