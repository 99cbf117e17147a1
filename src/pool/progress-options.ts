/** What a call can say of who watches it: the options `progress`, `onProgress` and `onReport`, and their checks. */
import { invalidArgument } from '../errors.ts'
import { callListener } from '../insights/call-listener.ts'
import type { Progress } from '../insights/progress-meter.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { checkCount, show } from './option-checks.ts'
import type { TaskOptions } from './task-limits.ts'

/** How the progress of a call is shown. */
export interface ProgressOptions {
  /** Stands before the bar. Default: the name of the function. */
  label?: string | undefined
  /** How many items there are, where the input does not tell (a generator, a stream). */
  total?: number | undefined
  /** Whether the bar vanishes at the end. Default: its last state stays. */
  clear?: boolean | undefined
}

/** Where a report comes from. */
export interface ReportInfo {
  /** Index of the item; `undefined` for `apply`. */
  index: number | undefined
  /** 1 in the first run of the item, 2 when it runs again (see the option `retries`). */
  attempt: number
  /** Reports of this run that were dropped so far, because the pool did not take them as fast as they came. */
  dropped: number
}

/** A method, so that a listener may say what type its values have. */
type OnReport = { listen(value: unknown, info: ReportInfo): unknown }['listen']

/** Options of any call whose tasks report. */
export interface ReportOptions {
  /**
   * Is given what tasks pass to `currentTask().report()`, before the result of the same item. What it throws becomes a
   * warning, and it is not called again.
   */
  onReport?: OnReport | undefined
}

/** Options of `Pool.apply`. */
export interface ApplyOptions extends TaskOptions, ReportOptions {}

/** Options of any call that maps. */
export interface WatchOptions extends ReportOptions {
  /**
   * Shows on stderr how far the call is: a bar on a terminal, elsewhere a line every 5 seconds and at the end. Default:
   * nothing is shown.
   */
  progress?: boolean | ProgressOptions | undefined
  /**
   * Is told how far the call is, 10 times a second at most while it runs, and once at its end. What it throws becomes a
   * warning, and it is not called again.
   */
  onProgress?: ((progress: Progress) => unknown) | undefined
}

/** Names of the options. */
export const WATCH_OPTIONS = ['progress', 'onProgress', 'onReport'] as const

export type ReportListener = (value: unknown, info: ReportInfo) => void

/** The checked options: `undefined` where nobody watches. */
export interface Watch {
  shown: { label: string | undefined; isCleared: boolean } | undefined
  total: number | undefined
  onProgress: ((progress: Progress) => void) | undefined
}

export function checkWatch(options: WatchOptions | undefined): Watch | undefined {
  const { progress, onProgress } = options ?? {}
  const listener = checkListener('onProgress', onProgress)
  if (progress === undefined || progress === null || progress === false || progress === true) {
    if (progress !== true && !listener) return undefined
    const shown = progress === true ? { label: undefined, isCleared: false } : undefined
    return { shown, total: undefined, onProgress: listener }
  }
  if (typeof progress !== 'object') {
    throw invalidArgument(
      TypeError,
      `The option "progress" must be true or an object, but it is ${show(progress)}\nTo fix: pass true, or { label, total, clear }`,
    )
  }
  assertKnownOptions('progress', progress, ['label', 'total', 'clear'])
  const { label, clear } = progress
  if (label !== undefined && typeof label !== 'string') {
    throw invalidArgument(
      TypeError,
      `The option "progress.label" must be a text, but it is ${show(label)}\nTo fix: pass a string, or leave it out`,
    )
  }
  const total = checkCount('progress.total', progress.total, { min: 0 })
  // A line break would tear the bars below it apart.
  const oneLine = label?.replaceAll(/\s+/g, ' ')
  return { shown: { label: oneLine, isCleared: clear === true }, total, onProgress: listener }
}

export function checkReportListener(options: ReportOptions | undefined): ReportListener | undefined {
  return checkListener('onReport', options?.onReport)
}

function checkListener<Args extends unknown[]>(
  name: string,
  value: ((...args: Args) => unknown) | undefined,
): ((...args: Args) => void) | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'function') return callListener(name, value)
  throw invalidArgument(
    TypeError,
    `The option "${name}" must be a function, but it is ${show(value)}\nTo fix: pass a function`,
  )
}
