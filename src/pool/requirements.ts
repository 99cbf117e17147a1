/**
 * What a task needs of the machine that runs it, and what a machine has: labels, which are equal or not, and resources,
 * which are used up. Invariant: two requirements that mean the same have the same `key`.
 */
import { invalidArgument } from '../errors.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { show } from './option-checks.ts'

/**
 * What a task needs of the machine that runs it: the option `requires` of a pool on a cluster, and of its calls.
 *
 * @example
 * ```ts
 * import type { TaskRequirements } from 'multiproc'
 *
 * // One of two GPUs of a machine in one of two zones, and 16 GiB of what its agent offers.
 * const requires: TaskRequirements = {
 *   labels: { zone: ['eu-1', 'eu-2'] },
 *   resources: { gpu: 1, memory: '16G' },
 * }
 * console.log(Object.keys(requires)) // [ 'labels', 'resources' ]
 * ```
 */
export interface TaskRequirements {
  /** The agent has each of these labels, with this value or one of these. */
  labels?: Readonly<Record<string, string | readonly string[]>> | undefined
  /**
   * How much of each resource of the agent it takes while it runs: a whole number, a part of one (`0.5`: two tasks share
   * one), or a text such as `'16G'` (K, M, G and T are powers of 1024).
   */
  resources?: Readonly<Record<string, number | string>> | undefined
}

/** What a task has of one resource, as `currentTask().resources` tells. */
export interface ResourceShare {
  /** How much. */
  amount: number
  /**
   * Which of them, counted from 0, where the agent has a whole number of 1024 at most: for `CUDA_VISIBLE_DEVICES`, say.
   * Else empty.
   */
  indexes: readonly number[]
}

/** Checked requirements. */
export interface Requirements {
  /** A text that says all of them: the same for those that mean the same. */
  readonly key: string
  readonly labels: Readonly<Record<string, readonly string[]>>
  readonly resources: Readonly<Record<string, number>>
}

/** What a machine has. */
export interface Offer {
  readonly labels: Readonly<Record<string, string>>
  readonly resources: Readonly<Record<string, number>>
}

/** Up to so many, the units of a resource are numbered. */
export const numberedMax = 1024

const names = /^[A-Za-z0-9][A-Za-z0-9_.\-/]{0,63}$/
const values = /^[\x21-\x7e]{1,64}$/
const entriesMax = 16
const amountMax = 2 ** 50
const amounts = /^(?<number>\d+(?:\.\d+)?)(?<unit>[KMGT]?)(?:i?B)?$/
const powers: Record<string, number> = { '': 0, K: 10, M: 20, G: 30, T: 40 }

/** @throws TypeError or RangeError. `undefined` for what requires nothing. */
export function checkRequires(given: unknown): Requirements | undefined {
  if (given === undefined || given === null) return undefined
  if (typeof given !== 'object') {
    throw invalidArgument(
      TypeError,
      `The option "requires" must be an object, but it is ${show(given)}\nTo fix: pass { labels: { zone: 'eu' }, resources: { gpu: 1 } }, or one of the two`,
    )
  }
  assertKnownOptions('requires', given, ['labels', 'resources'])
  const { labels, resources } = given as TaskRequirements
  const wanted = Object.fromEntries(
    entriesOf('requires.labels', labels).map(([name, value]) => [name, checkWanted(name, value)]),
  )
  const needed = Object.fromEntries(
    entriesOf('requires.resources', resources).map(([name, value]) => [name, checkNeeded(name, value)]),
  )
  return requirementsOf(wanted, needed)
}

/** Those of a key that somebody else has written; `undefined` when it is none. */
export function requirementsIn(key: string): Requirements | undefined {
  try {
    const [labels, resources] = JSON.parse(key) as [Record<string, string[]>, Record<string, number>]
    const found = checkRequires({ labels, resources })
    return found?.key === key ? found : undefined
  } catch {
    return undefined
  }
}

/** @throws TypeError or RangeError for labels or resources of an agent that make no sense. */
export function checkOffer({ labels, resources }: { labels?: unknown; resources?: unknown }): Offer {
  return {
    labels: Object.fromEntries(
      entriesOf('labels', labels).map(([name, value]) => [name, checkLabel(`labels.${name}`, value)]),
    ),
    resources: Object.fromEntries(
      entriesOf('resources', resources).map(([name, value]) => [
        name,
        checkAmount(`resources.${name}`, value, { isZeroAllowed: true }),
      ]),
    ),
  }
}

/** How many tasks with these requirements a machine can run at once, as far as they are about it: 0 for none. */
export function slotsOf(
  offer: Offer,
  { labels, resources }: Pick<Requirements, 'labels' | 'resources'>,
): number {
  for (const [name, wanted] of Object.entries(labels)) {
    const own = offer.labels[name]
    if (own === undefined || !wanted.includes(own)) return 0
  }
  let slots = Infinity
  for (const [name, needed] of Object.entries(resources)) {
    const total = offer.resources[name] ?? 0
    const here =
      isNumbered(total) && needed < 1 ? total * Math.floor(1 / needed + 1e-9) : Math.floor(total / needed)
    slots = Math.min(slots, here)
  }
  return slots
}

/** Whether a task is told which units of so many it has. */
export function isNumbered(total: number): boolean {
  return Number.isInteger(total) && total <= numberedMax
}

/** For people: `zone=eu, gpu=2`. */
export function describeRequirements({
  labels,
  resources,
}: Pick<Requirements, 'labels' | 'resources'>): string {
  return [
    ...Object.entries(labels).map(([name, wanted]) => `${name}=${wanted.join('|')}`),
    ...Object.entries(resources).map(([name, amount]) => `${name}=${showAmount(amount)}`),
  ].join(', ')
}

/** For people: what a machine has, or "no labels and no resources". */
export function describeOffer({ labels, resources }: Offer): string {
  const wanted = Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, [value]]))
  return describeRequirements({ labels: wanted, resources }) || 'no labels and no resources'
}

function showAmount(amount: number): string {
  for (const unit of ['T', 'G', 'M']) {
    const size = 2 ** powers[unit]!
    if (amount >= size && Number.isInteger((amount / size) * 4)) return `${amount / size}${unit}`
  }
  return String(amount)
}

function requirementsOf(
  labels: Record<string, readonly string[]>,
  resources: Record<string, number>,
): Requirements | undefined {
  const sorted = <T>(record: Record<string, T>): Record<string, T> =>
    Object.fromEntries(Object.entries(record).toSorted(([one], [other]) => (one < other ? -1 : 1)))
  if (Object.keys(labels).length + Object.keys(resources).length === 0) return undefined
  const parts = [sorted(labels), sorted(resources)] as const
  return { key: JSON.stringify(parts), labels: parts[0], resources: parts[1] }
}

function entriesOf(option: string, given: unknown): [string, unknown][] {
  if (given === undefined || given === null) return []
  if (typeof given !== 'object') {
    throw invalidArgument(
      TypeError,
      `The option "${option}" must be an object, but it is ${show(given)}\nTo fix: pass names with their values, such as { gpu: ${option.endsWith('labels') ? "'a100'" : '1'} }`,
    )
  }
  const entries = Object.entries(given).filter(([, value]) => value !== undefined)
  if (entries.length > entriesMax) {
    throw invalidArgument(
      RangeError,
      `The option "${option}" has ${entries.length} entries, but ${entriesMax} are allowed\nTo fix: leave out those that no task asks for`,
    )
  }
  for (const [name] of entries) {
    if (names.test(name)) continue
    throw invalidArgument(
      TypeError,
      `A name in the option "${option}" must be 1 to 64 letters, digits, "_", ".", "-" or "/", but it is ${show(name)}\nTo fix: choose such a name`,
    )
  }
  return entries
}

function checkWanted(name: string, value: unknown): readonly string[] {
  const wanted: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (wanted.length === 0 || wanted.length > entriesMax) {
    throw invalidArgument(
      RangeError,
      `The option "requires.labels.${name}" must be a text or 1 to ${entriesMax} of them, but it has ${wanted.length}\nTo fix: pass the values of the label that will do`,
    )
  }
  return [...new Set(wanted.map(each => checkLabel(`requires.labels.${name}`, each)))].toSorted()
}

function checkLabel(option: string, value: unknown): string {
  if (typeof value === 'string' && values.test(value)) return value
  throw invalidArgument(
    TypeError,
    `The option "${option}" must be a text of 1 to 64 characters without spaces, but it is ${show(value)}\nTo fix: pass such a text, for example 'eu'`,
  )
}

function checkNeeded(name: string, value: unknown): number {
  const option = `requires.resources.${name}`
  const amount = checkAmount(option, value, { isZeroAllowed: false })
  if (amount < 1 || Number.isInteger(amount)) return amount
  throw invalidArgument(
    RangeError,
    `The option "${option}" must be a whole number, or less than 1, but it is ${amount}\nTo fix: ask for ${Math.ceil(amount)}`,
  )
}

function checkAmount(option: string, value: unknown, { isZeroAllowed }: { isZeroAllowed: boolean }): number {
  const amount = typeof value === 'string' ? amountIn(value) : value
  const isRight =
    typeof amount === 'number' && amount <= amountMax && (amount >= 0.001 || (isZeroAllowed && amount === 0))
  if (isRight) return amount
  throw invalidArgument(
    typeof value === 'number' ? RangeError : TypeError,
    `The option "${option}" must be a number above 0 or a text such as '16G', but it is ${show(value)}\nTo fix: pass how much of it ${isZeroAllowed ? 'the machine has' : 'the task needs'}`,
  )
}

function amountIn(text: string): number | undefined {
  const { number, unit } = amounts.exec(text)?.groups ?? {}
  return number === undefined ? undefined : Number(number) * 2 ** powers[unit!]!
}
