/**
 * The part of `multiproc map` that runs in workers: reads an input, calls the user's function, and writes its result
 * as text, so that parsing and formatting use all cores, too, and every result can be sent. Invariant: `runItem`
 * never throws because of an item.
 */
import { inspect } from 'node:util'
import { fileURLToPath } from 'node:url'
import { type Task, type TaskLocation, loadTask } from './load-task.ts'

/** What a worker needs to know. Plain data. */
export interface MapWorkerSettings {
  task: TaskLocation
  /** What an input is: a string, or JSON text of a value. */
  input: 'text' | 'json'
  /** Whether the items of an input that is an array are the arguments. */
  isSpread: boolean
  output: 'json' | 'text'
}

/** What went wrong with an item. */
export interface ItemFailure {
  /** `TypeError: no digits`. */
  error: string
  /** The line of the stack in the user's code, without `at`; empty when there is none. */
  place: string
}

/** The index of the item, and its result as text or its failure. */
export type ItemOutcome = [index: number, line: string] | [index: number, line: null, failure: ItemFailure]

let settings: MapWorkerSettings | undefined
let task: Task | undefined

/** The initializer of the workers. */
export async function prepareMapWorker(given: MapWorkerSettings): Promise<void> {
  task = await loadTask(given.task)
  settings = given
}

/**
 * Runs one item. Of a function that is not async the outcome comes at once: that is several times faster for quick
 * functions than a promise.
 */
export function runItem([index, text]: readonly [index: number, text: string]):
  | ItemOutcome
  | Promise<ItemOutcome> {
  if (settings === undefined || task === undefined) {
    throw new Error('This is a bug in multiproc, please report it: an item arrived before the initializer')
  }
  const { output } = settings
  const { url } = settings.task
  try {
    const value = task(...readArguments(text, settings))
    return isThenable(value) ? finish(index, value, settings) : [index, formatResult(value, output)]
  } catch (thrown) {
    return [index, null, describeFailure(thrown, url)]
  }
}

async function finish(
  index: number,
  value: PromiseLike<unknown>,
  { output, task: { url } }: MapWorkerSettings,
): Promise<ItemOutcome> {
  try {
    return [index, formatResult(await value, output)]
  } catch (thrown) {
    return [index, null, describeFailure(thrown, url)]
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

/** Something is wrong with an input or a result, and not in the user's code: its stack would tell nothing. */
class InputError extends Error {
  override name = 'InputError'
}

function formatResult(value: unknown, output: 'json' | 'text'): string {
  if (output === 'text') {
    if (value === undefined || value === null) return ''
    if (typeof value === 'string') return value
    if (typeof value === 'bigint') return value.toString()
  }
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (error) {
    throw new InputError(`the result cannot be written as JSON: ${(error as Error).message.split('\n')[0]}`)
  }
  // What JSON does not know (undefined, functions, symbols) is null, as it is in arrays.
  return text ?? 'null'
}

function describeFailure(thrown: unknown, url: string): ItemFailure {
  if (!(thrown instanceof Error)) {
    return { error: `thrown: ${inspect(thrown, { breakLength: Infinity, depth: 1 })}`, place: '' }
  }
  if (thrown instanceof InputError) return { error: thrown.message, place: '' }
  return { error: `${thrown.name}: ${thrown.message}`, place: userPlace(thrown.stack ?? '', url) }
}

/** The first line of a stack in the user's file; else the first that is neither Node's nor in this library. */
function userPlace(stack: string, url: string): string {
  const lines = stack.split('\n').flatMap(line => /^\s+at (.*)$/.exec(line)?.[1] ?? [])
  const isIn = (line: string, href: string): boolean =>
    line.includes(href) || line.includes(fileURLToPath(href))
  const own = new URL('../', import.meta.url).href
  return (
    lines.find(line => isIn(line, url)) ??
    lines.find(line => !line.includes('node:') && !isIn(line, own)) ??
    ''
  )
}
