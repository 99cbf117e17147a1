/**
 * Runs a few actors over a heap in one process in all orders, or as many as a limit allows. An actor is a generator
 * that yields where it would go to sleep. Within a step, another actor may run before any access to a word, and one
 * actor may be killed there: from then on nothing that it does has an effect, also not in its finally blocks.
 */
import assert from 'node:assert/strict'
import type { HeldBlock } from '#src/platform/shared-heap.js'
import { type Attempt, newSleep, type Sleep, type SyncHeap } from '#src/sync/waiting.js'

const WORDS = 4096
const BLOCK_WORDS = 64
const PAYLOAD = 20

interface SleepStep {
  index: number
  expected: number
  ends: number
}

export type Script = Generator<SleepStep | undefined, void, void>

interface Actor {
  name: string
  token: number
  heap: SyncHeap
  script: Script
  state: 'ready' | 'asleep' | 'done' | 'dead'
  /** Where it is about to sleep, or sleeps. */
  sleep: SleepStep | undefined
}

/** An order that cannot be: an actor ran while another one that it had to wait for was in the middle of a step. */
class Impossible extends Error {}
class Killed extends Error {}

export class World {
  readonly words = new Int32Array(new SharedArrayBuffer(WORDS * 4))
  readonly actors: Actor[] = []
  readonly #choose: (options: number) => number
  readonly #hidden: number[] = []
  #blocks = 0
  #ends = 0
  #preemptions: number
  readonly #victim: string | undefined
  #running: Actor | undefined
  trace: string[] = []

  constructor(
    choose: (options: number) => number,
    options: { preemptions: number; victim?: string | undefined },
  ) {
    this.#choose = choose
    this.#preemptions = options.preemptions
    this.#victim = options.victim
  }

  get victim(): Actor | undefined {
    return this.actors.find(({ state }) => state === 'dead')
  }

  newBlock(): HeldBlock {
    const index = this.#blocks++
    return this.#block(index)
  }

  #block(index: number): HeldBlock {
    return {
      handle: { heap: 1, index, generation: 1 },
      base: index * BLOCK_WORDS + PAYLOAD,
      release: () => {},
    }
  }

  /** A member of the heap. */
  heap(token: number): SyncHeap {
    const isAlive = (other: number): boolean =>
      !this.actors.some(actor => actor.token === other && actor.state === 'dead')
    const ends = (): number => this.#ends
    return {
      words: this.words,
      token,
      get ends() {
        return ends()
      },
      hasEnded: false,
      isAlive,
      waitSync() {
        throw new Impossible()
      },
      waitAsync() {
        throw new Error('not in the model')
      },
      wake: (index: number, count?: number) => this.#wake(index, count ?? Infinity),
      allocate: () => this.newBlock(),
      attach: handle => this.#block(handle.index),
    }
  }

  add(name: string, script: (heap: SyncHeap) => Script): void {
    const token = 512 * (this.actors.length + 1) + this.actors.length
    const heap = this.heap(token)
    this.actors.push({ name, token, heap, script: script(heap), state: 'ready', sleep: undefined })
  }

  #wake(index: number, count: number): number {
    this.#access()
    let woken = 0
    for (const actor of this.actors) {
      if (woken === count || actor.state !== 'asleep' || actor.sleep!.index !== index) continue
      actor.state = 'ready'
      actor.sleep = undefined
      woken++
    }
    return woken
  }

  /** Before each access to a word, and before each wake. */
  #access(): void {
    const actor = this.#running
    if (actor === undefined) return
    if (actor.state === 'dead') throw new Killed()
    const others =
      this.#preemptions > 0 ? this.#ready().filter(other => !this.#hidden.includes(other.token)) : []
    const canDie = actor.name === this.#victim
    const choice = this.#choose(1 + others.length + (canDie ? 1 : 0))
    if (choice === 0) return
    if (choice > others.length) {
      actor.state = 'dead'
      this.trace.push(`${actor.name} is killed`)
      throw new Killed()
    }
    this.#preemptions--
    this.#step(others[choice - 1]!)
    this.#running = actor
  }

  #ready(): Actor[] {
    return this.actors.filter(({ state }) => state === 'ready')
  }

  #step(actor: Actor): void {
    this.trace.push(actor.name)
    if (actor.sleep !== undefined) {
      const { index, expected, ends } = actor.sleep
      if (this.words[index] === expected && this.#ends === ends) {
        actor.state = 'asleep'
        return
      }
      actor.sleep = undefined
    }
    this.#hidden.push(actor.token)
    this.#running = actor
    try {
      const { value, done } = actor.script.next()
      if (done) actor.state = 'done'
      else actor.sleep = value
    } catch (error) {
      if (!(error instanceof Killed)) throw error
    } finally {
      this.#hidden.pop()
      this.#running = undefined
    }
    if (actor.state === 'dead') this.#ended()
  }

  /** The heap tells all sleepers that a member has ended. */
  #ended(): void {
    this.#ends++
    for (const sleeper of this.actors) {
      if (sleeper.state !== 'asleep') continue
      sleeper.state = 'ready'
      sleeper.sleep = undefined
    }
  }

  /** Until nobody can go on. False for an order that cannot be. */
  run(): boolean {
    const original = { ...hooked() }
    for (const name of HOOKED) {
      Object.assign(Atomics, {
        [name]: (...parameters: unknown[]): unknown => {
          if (parameters[0] === this.words) this.#access()
          return (original[name] as (...rest: unknown[]) => unknown)(...parameters)
        },
      })
    }
    try {
      for (;;) {
        const ready = this.#ready()
        if (ready.length === 0) return true
        this.#step(ready[this.#choose(ready.length)]!)
      }
    } catch (error) {
      if (error instanceof Impossible) return false
      throw error
    } finally {
      Object.assign(Atomics, original)
    }
  }
}

const HOOKED = ['load', 'store', 'compareExchange', 'exchange', 'add', 'and', 'or'] as const
function hooked(): Record<(typeof HOOKED)[number], unknown> {
  const { load, store, compareExchange, exchange, add, and, or } = Atomics
  return { load, store, compareExchange, exchange, add, and, or }
}

/** Tries until it works, yielding where it would sleep. */
export function* until<T extends {}>(
  heap: SyncHeap,
  attempt: Attempt<T>,
): Generator<SleepStep | undefined, T, void> {
  const sleep: Sleep = newSleep()
  for (;;) {
    const { ends } = heap
    const result = attempt(sleep)
    if (result !== undefined) return result
    sleep.hasSlept = true
    yield { index: sleep.index, expected: sleep.expected, ends }
  }
}

export interface Scenario {
  /** How often an actor may run in the middle of a step of another one. */
  preemptions?: number
  /** The actor that may be killed, once, anywhere. */
  victim?: string
  /** Puts actors into the world, and gives what must hold when none of them can go on. */
  set(world: World): () => void
}

/** Beyond this many orders, the rest is drawn at random. */
const ORDERS_MAX = 20_000
const RANDOM_ORDERS = 3000

/** Runs the scenario in all orders of depth-first search up to a limit, then in random ones. Gives how many. */
export function runInAllOrders({ preemptions = 0, victim, set }: Scenario, seed: number): number {
  let orders = 0
  const runOnce = (choose: (options: number) => number): void => {
    const world = new World(choose, { preemptions, victim })
    const check = set(world)
    if (!world.run()) return
    orders++
    try {
      check()
    } catch (error) {
      throw new Error(`In this order: ${world.trace.join(', ')}`, { cause: error })
    }
  }
  const choices: { taken: number; options: number }[] = []
  let runs = 0
  do {
    let depth = 0
    runOnce(options => {
      if (options === 1) return 0
      if (depth === choices.length) choices.push({ taken: 0, options })
      return choices[depth++]!.taken
    })
    while (choices.length > 0 && choices.at(-1)!.taken === choices.at(-1)!.options - 1) choices.pop()
    if (choices.length > 0) choices.at(-1)!.taken++
  } while (choices.length > 0 && ++runs < ORDERS_MAX)
  if (choices.length > 0) {
    let state = seed >>> 0 || 1
    const random = (options: number): number => {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      return (state >>> 0) % options
    }
    for (let run = 0; run < RANDOM_ORDERS; run++) {
      // Mostly straight on: an actor that is interrupted at every access gets nowhere.
      runOnce(options => (options > 1 && random(4) === 0 ? random(options) : 0))
    }
  }
  assert.ok(orders > 0)
  return orders
}
