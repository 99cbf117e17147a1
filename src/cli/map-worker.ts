/**
 * The part of `multiproc map` that runs in workers: reads an input, calls the user's function, and writes its result
 * as text, so that parsing and formatting use all cores, too, and every result can be sent. Invariant: `runItem`
 * throws only to be run again.
 */
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { currentTask } from '../pool/current-task.ts'
import { type Task, type TaskLocation, loadTask } from './load-task.ts'
import { InputError, formatResult } from './result-text.ts'

/** What a worker needs to know. Plain data. */
export interface MapWorkerSettings {
  task: TaskLocation
  /** Of the module of the task, as stacks may have it: its URL and its path. */
  places: readonly string[]
  /** What an input is: a string, or JSON text of a value. */
  input: 'text' | 'json'
  /** Whether the items of an input that is an array are the arguments. */
  isSpread: boolean
  output: 'json' | 'text'
  /** How often an input that failed runs again. */
  retries: number
  /** Whether it is to be told when and how long an input ran. */
  isTimed: boolean
}

/** What went wrong with an item. */
export interface ItemFailure {
  /** `TypeError: no digits`. */
  error: string
  /** The line of the stack in the user's code, without `at`; empty when there is none. */
  place: string
}

/** The last run of an item. */
export interface ItemTiming {
  startedAtMs: number
  tookMs: number
  /** 1 in the first run. */
  attempt: number
}

/** The position of the item, its result as text or its failure, and its timing if that is wanted. */
export type ItemOutcome =
  | [position: number, line: string]
  | [position: number, line: null, failure: ItemFailure]
  | [position: number, line: string | null, failure: ItemFailure | null, timing: ItemTiming]

let settings: MapWorkerSettings | undefined
let task: Task | undefined

/** The initializer of the workers. */
export async function prepareMapWorker(given: MapWorkerSettings): Promise<void> {
  task = await loadTask(given.task)
  settings = given
}

/** The run of one item: knows when it began, and says how it ended. */
class ItemRun {
  readonly #position: number
  readonly #settings: MapWorkerSettings
  readonly #startedAtMs: number
  readonly #startedAt: number
  readonly #attempt: number

  constructor(position: number, settings: MapWorkerSettings) {
    const { isTimed, retries } = settings
    this.#position = position
    this.#settings = settings
    this.#startedAtMs = isTimed ? Date.now() : 0
    this.#startedAt = isTimed ? performance.now() : 0
    // The current task is asked for while it is this one.
    this.#attempt = isTimed || retries > 0 ? currentTask().attempt : 1
  }

  succeed(value: unknown): ItemOutcome {
    const line = formatResult(value, this.#settings.output)
    return this.#settings.isTimed ? [this.#position, line, null, this.#timing()] : [this.#position, line]
  }

  async succeedLater(value: PromiseLike<unknown>): Promise<ItemOutcome> {
    try {
      return this.succeed(await value)
    } catch (thrown) {
      return this.fail(thrown)
    }
  }

  /** @throws Error when the item is to run again: of the pool's retries, it is the last that gives the failure. */
  fail(thrown: unknown): ItemOutcome {
    const { retries, task, places, isTimed } = this.#settings
    // A wrong input is as wrong the next time.
    if (this.#attempt <= retries && !(thrown instanceof InputError)) {
      throw new Error(`Attempt ${this.#attempt} of "${task.reference}" failed, and is followed by another`)
    }
    const failure = describeFailure(thrown, places)
    return isTimed ? [this.#position, null, failure, this.#timing()] : [this.#position, null, failure]
  }

  #timing(): ItemTiming {
    return {
      startedAtMs: this.#startedAtMs,
      tookMs: performance.now() - this.#startedAt,
      attempt: this.#attempt,
    }
  }
}

/** An item as it is sent: its position among those of the run, and its text. */
export type SentItem = readonly [position: number, text: string]

/** Runs one item, in a worker that `prepareMapWorker` has prepared. */
export function runItem(item: SentItem): ItemOutcome | Promise<ItemOutcome> {
  if (settings === undefined || task === undefined) {
    throw new Error('This is a bug in multiproc, please report it: an item arrived before the initializer')
  }
  return runItemOf(task, settings, item)
}

/**
 * Runs one item for workers that nothing has prepared, since they belong to the agents of a cluster: the task and the
 * settings come along. The task travels as every function does, by its module where the agent has that.
 */
export function itemRunner(
  task: Task,
  settings: MapWorkerSettings,
): (item: SentItem) => ItemOutcome | Promise<ItemOutcome> {
  return item => runItemOf(task, settings, item)
}

/**
 * Of a function that is not async the outcome comes at once: that is several times faster for quick functions than a
 * promise.
 */
export function runItemOf(
  task: Task,
  settings: MapWorkerSettings,
  [position, text]: SentItem,
): ItemOutcome | Promise<ItemOutcome> {
  const run = new ItemRun(position, settings)
  try {
    const value = task(...readArguments(text, settings))
    return isThenable(value) ? run.succeedLater(value) : run.succeed(value)
  } catch (thrown) {
    return run.fail(thrown)
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function'
}

function readArguments(text: string, { input, isSpread }: MapWorkerSettings): unknown[] {
  if (input === 'text') return [text]
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new InputError(`the input is no JSON: ${(error as Error).message}`)
  }
  if (!isSpread) return [value]
  if (Array.isArray(value)) return value
  throw new InputError('the input is no JSON array, as --spread needs it')
}

function describeFailure(thrown: unknown, places: readonly string[]): ItemFailure {
  if (!(thrown instanceof Error)) {
    return { error: `thrown: ${inspect(thrown, { breakLength: Infinity, depth: 1 })}`, place: '' }
  }
  if (thrown instanceof InputError) return { error: thrown.message, place: '' }
  return { error: `${thrown.name}: ${thrown.message}`, place: userPlace(thrown.stack ?? '', places) }
}

/** The first line of a stack in the user's file; else the first that is neither Node's nor in this library. */
function userPlace(stack: string, places: readonly string[]): string {
  const lines = stack.split('\n').flatMap(line => /^\s+at (.*)$/.exec(line)?.[1] ?? [])
  const isIn = (line: string, texts: readonly string[]): boolean => texts.some(text => line.includes(text))
  const own = new URL('../', import.meta.url)
  return (
    lines.find(line => isIn(line, places)) ??
    lines.find(line => !line.includes('node:') && !isIn(line, [own.href, fileURLToPath(own)])) ??
    ''
  )
}
