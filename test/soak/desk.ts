/**
 * What an actor and the round that started it know of each other without messages: a table of words that are still
 * there after a `kill -9` of whoever wrote them. Actors never ask whether another one is alive: the round
 * marks whom it is going to kill before it does.
 */
import { threadId } from 'node:worker_threads'
import { tmpdir } from 'node:os'
import { randomNumbers } from '../queue/random-numbers.js'
import { openWords, type Words, type WordsHandle } from './words.js'

/** Where an actor is, for the report of a hang. */
export const PHASES = ['not begun', 'between', 'waiting', 'inside', 'ended'] as const
export type Phase = (typeof PHASES)[number]

const FIELDS = { phase: 0, operations: 1, isKilled: 2, note: 3 } as const
const WORDS_PER_ACTOR = 4
/** A round starts fewer. Place 0 belongs to the round itself. */
export const ACTORS_MAX = 1000
export const TABLE_WORDS = (ACTORS_MAX + 1) * WORDS_PER_ACTOR

/** What an actor is given. */
export interface Desk {
  readonly id: number
  readonly seed: number
  readonly table: WordsHandle
}

/** The table, as everybody sees it. */
export class Table {
  readonly #words: Words

  constructor(handle: WordsHandle) {
    this.#words = openWords(handle)
  }

  get isStopped(): boolean {
    return this.#words.load(0) === 1
  }

  stop(): void {
    this.#words.store(0, 1)
  }

  phaseOf(id: number): Phase {
    return PHASES[this.#read(id, 'phase')]!
  }

  operationsOf(id: number): number {
    return this.#read(id, 'operations')
  }

  noteOf(id: number): number {
    return this.#read(id, 'note')
  }

  /** Of all actors, from the first on. */
  notes(): Int32Array {
    const all = this.#words.all()
    return Int32Array.from(
      { length: ACTORS_MAX },
      (_, index) => all[(index + 1) * WORDS_PER_ACTOR + FIELDS.note]!,
    )
  }

  isKilled(id: number): boolean {
    return this.#read(id, 'isKilled') === 1
  }

  markKilled(id: number): void {
    this.#write(id, 'isKilled', 1)
  }

  setPhase(id: number, phase: Phase): void {
    this.#write(id, 'phase', PHASES.indexOf(phase))
  }

  setNote(id: number, note: number): void {
    this.#write(id, 'note', note)
  }

  count(id: number): void {
    this.#words.add(id * WORDS_PER_ACTOR + FIELDS.operations, 1)
  }

  #read(id: number, field: keyof typeof FIELDS): number {
    return this.#words.load(id * WORDS_PER_ACTOR + FIELDS[field])
  }

  #write(id: number, field: keyof typeof FIELDS, value: number): void {
    this.#words.store(id * WORDS_PER_ACTOR + FIELDS[field], value)
  }
}

/** The actor's own side. */
export class Place {
  readonly id: number
  readonly table: Table
  /** Numbers from 0 to below the limit, as the seed has them. */
  readonly random: (limit: number) => number

  constructor({ id, seed, table }: Desk) {
    this.id = id
    this.table = new Table(table)
    this.random = randomNumbers(seed)
    if (threadId === 0) {
      // On SIGUSR2 it writes down where it is: see diagnosis.ts.
      const { report } = process
      report.reportOnSignal = true
      report.directory = tmpdir()
      report.filename = reportName(process.pid)
    }
    this.phase = 'between'
  }

  get isStopped(): boolean {
    return this.table.isStopped
  }

  set phase(phase: Phase) {
    this.table.setPhase(this.id, phase)
  }

  /** One more operation is done. */
  count(): void {
    this.table.count(this.id)
  }

  /** Something between nothing and a few milliseconds, in one of the ways in which programs spend their time. */
  async work(): Promise<void> {
    const kind = this.random(8)
    if (kind < 3) return
    if (kind < 5) spin(this.random(200))
    else if (kind < 7) await new Promise(resolve => setImmediate(resolve))
    // Sleep: time that is spent with something in hand is what the kills shall hit.
    else await new Promise(resolve => setTimeout(resolve, this.random(4)))
  }
}

export function reportName(pid: number): string {
  return `where-${pid}.json`
}

/** Keeps the processor busy. */
export function spin(microseconds: number): void {
  const until = performance.now() + microseconds / 1000
  while (performance.now() < until);
}

/** Thrown by actors and rounds for what must not be. */
export class Violation extends Error {
  override name = 'Violation'
}
