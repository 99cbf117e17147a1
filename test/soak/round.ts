/**
 * One round of a scenario: actors that work on the same things, are killed at random and replaced. Everything that is
 * random follows from the seed of the round; every wait has a deadline, after which all that is known is printed.
 */
import { Process, type StartMethod } from 'multiproc'
import { randomNumbers } from '../queue/random-numbers.js'
import { type Desk, Table, TABLE_WORDS, Violation } from './desk.js'
import { heapState, whereIs } from './diagnosis.js'
import { stopProcess } from './stopping.js'
import { makeWords, removeWords, type WordsHandle } from './words.js'

/** Much longer than anything takes on a machine that is busy with other things, too. */
const WAIT_MS_MAX = 90_000
const LOOK_MS = 2

export interface Actor {
  readonly id: number
  readonly child: Process<never>
  /** After which it has ended. */
  readonly ended: Promise<void>
  readonly title: string
}

export interface RoundOptions {
  name: string
  seed: number
  method: StartMethod
  kills: number
}

export class Round {
  readonly name: string
  readonly seed: number
  readonly method: StartMethod
  /** How many actors this round kills. */
  readonly plannedKills: number
  readonly random: (limit: number) => number
  readonly table: Table
  /** Actors that have not been killed. */
  readonly living: Actor[] = []
  kills = 0
  /** Of the scenario, beside those that actors count. */
  operations = 0
  readonly #words: WordsHandle[] = []
  /** All that were started. */
  readonly actors: Actor[] = []
  /** What an actor that nobody killed died of. */
  #trouble: unknown
  #isAbandoned = false

  constructor({ name, seed, method, kills }: RoundOptions) {
    this.name = name
    this.seed = seed
    this.method = method
    this.plannedKills = kills
    this.random = randomNumbers(seed)
    this.table = new Table(this.words(TABLE_WORDS))
  }

  /** Words that all actors of this round can be given. */
  words(length: number): WordsHandle {
    const handle = makeWords(length, this.method)
    this.#words.push(handle)
    return handle
  }

  /** When it has been played, and all actors have ended. */
  close(): void {
    for (const handle of this.#words.splice(0)) removeWords(handle)
  }

  // ---- Actors ----

  /** Starts an actor, which runs `work(desk, shared)`. */
  start<Shared>(work: (desk: Desk, shared: Shared) => unknown, shared: Shared): Actor {
    this.#throwTrouble()
    const id = this.actors.length + 1
    const desk: Desk = { id, seed: this.random(2 ** 31), table: this.#words[0]! }
    const child = new Process<[Desk, Shared]>({
      target: work,
      args: [desk, shared],
      context: this.method,
      daemon: true,
    })
    child.start()
    const actor: Actor = { id, child, ended: this.#ended(child, id), title: `${work.name} ${id}` }
    this.actors.push(actor)
    this.living.push(actor)
    return actor
  }

  async #ended(child: Process<[Desk, never]>, id: number): Promise<void> {
    try {
      await child.result()
    } catch (error) {
      if (!this.table.isKilled(id)) this.#trouble ??= error
    }
    await child.join()
    this.table.setPhase(id, 'ended')
  }

  /** Kills an actor as nothing else can, wherever it is. */
  kill(actor: Actor): void {
    this.living.splice(this.living.indexOf(actor), 1)
    this.table.markKilled(actor.id)
    actor.child.kill()
    this.kills++
  }

  /** What names in the system begin with. */
  get tag(): string {
    return `soak-${process.pid}-${this.seed}`
  }

  get operationsOfActors(): number {
    return this.actors.reduce((sum, { id }) => sum + this.table.operationsOf(id), 0)
  }

  /**
   * Starts so many actors, and kills one after the other at random moments, as often as planned. Each is replaced
   * before it is killed. Between kills the others get further: nobody waits for the dead.
   */
  async disturb(population: number, begin: (index: number) => Actor): Promise<void> {
    const places = Array.from({ length: population }, (_, index) => begin(index))
    for (let kill = 0; kill < this.plannedKills; kill++) {
      const index = this.random(population)
      const victim = places[index]!
      await this.chooseMoment(victim)
      places[index] = begin(index)
      this.kill(victim)
    }
    await this.endsOfKilled()
  }

  async endsOfKilled(): Promise<void> {
    const killed = this.actors.filter(each => this.table.isKilled(each.id))
    await this.within('the ends of those that were killed', Promise.all(killed.map(each => each.ended)))
  }

  /** Waits for the moment to kill it. */
  async chooseMoment(victim: Actor): Promise<void> {
    const kind = this.random(10)
    // While it starts, perhaps.
    if (kind === 0) return await this.pause(this.random(100))
    await this.until(`${victim.title} to begin`, () => this.table.phaseOf(victim.id) !== 'not begun')
    if (kind < 5) return await this.pause(this.random(20))
    if (kind < 8 || this.method === 'thread') return await this.progress(victim, 1 + this.random(20))
    // The system stops it, wherever it is; it may go on before it is killed.
    stopProcess(victim.child.pid!)
    await this.pause(this.random(60))
    if (kind === 9) {
      process.kill(victim.child.pid!, 'SIGCONT')
      await this.pause(this.random(5))
    }
  }

  /** Waits until so many operations more have been done by any actor. */
  async progress(except: Actor | undefined, operations: number): Promise<void> {
    const goal = this.operationsOfActors + operations
    await this.until(
      `${operations} more operations before the end of ${except?.title ?? 'the round'}`,
      () => this.operationsOfActors >= goal,
    )
  }

  /** Tells the actors to end, and waits for each. `poke` is called again and again meanwhile, for those who wait. */
  async finish(poke: () => void = () => {}): Promise<void> {
    this.table.stop()
    let hasEnded = false
    const all = Promise.all(this.actors.map(each => each.ended)).then(() => (hasEnded = true))
    await this.until('the survivors to end', () => {
      poke()
      return hasEnded
    })
    await all
    const wrong = this.living.filter(({ child }) => child.exitCode !== 0)
    if (wrong.length > 0)
      this.fail(`${wrong.map(each => each.title).join(', ')} ended with another code than 0`)
  }

  // ---- Waiting and failing ----

  /** A point of time within the next milliseconds is chosen. */
  async pause(ms: number): Promise<void> {
    // Sleep: the moment of a kill is random.
    await new Promise(resolve => setTimeout(resolve, ms))
  }

  async until(what: string, isDone: () => boolean): Promise<void> {
    const giveUpAt = performance.now() + WAIT_MS_MAX
    for (;;) {
      this.#throwTrouble()
      if (isDone()) return
      if (performance.now() > giveUpAt) await this.#explain(what)
      await this.pause(LOOK_MS)
    }
  }

  async within<T>(what: string, promise: Promise<T>): Promise<T> {
    let isSettled = false
    const settled = promise.finally(() => (isSettled = true))
    settled.catch(() => {})
    await this.until(what, () => isSettled)
    return await settled
  }

  fail(message: string): never {
    throw new Violation(message)
  }

  #throwTrouble(): void {
    if (this.#trouble !== undefined) throw this.#trouble
    if (this.#isAbandoned) throw new Violation('The round was given up')
  }

  async #explain(what: string): Promise<never> {
    const lines = [`Waited ${WAIT_MS_MAX / 1000} s for ${what}`, `heap: ${heapState()}`]
    for (const { id, child, title } of this.actors) {
      const phase = this.table.phaseOf(id)
      if (phase === 'ended') continue
      const isKilled = this.table.isKilled(id) ? ', killed' : ''
      const operations = this.table.operationsOf(id)
      lines.push(`${title}: ${phase}, ${operations} operations, note ${this.table.noteOf(id)}${isKilled}`)
      if (this.method === 'spawn' && child.pid !== undefined) lines.push(await whereIs(child.pid))
    }
    throw new Violation(lines.join('\n'))
  }

  /** Kills what is left after a violation. */
  async abandon(): Promise<void> {
    this.#isAbandoned = true
    for (const { id, child } of this.actors) {
      this.table.markKilled(id)
      child.kill()
    }
    await Promise.race([Promise.all(this.actors.map(each => each.ended)), this.pause(10_000)])
  }
}

/** A scenario: what is made, who works on it, and what must hold in the end. */
export interface Scenario {
  readonly name: string
  /** Whether it needs the addon: typed arrays over shared memory cannot be put into queues without it. */
  readonly isNativeOnly: boolean
  run(round: Round): Promise<void>
}
