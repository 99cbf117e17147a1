/**
 * The lines of a job log: a head that says what kind of run it is about, a line for each start of the program, and one
 * for each finished input. README.md of this folder says when they are written. Invariant: a reader meets nothing here
 * that it does not check.
 */
import type { MapSettings } from './map-options.ts'
import { NUMBER_MAX } from './finished-items.ts'

/** The first line. A run can go on only with the same. */
export interface LogHead {
  multiproc: 'map'
  version: 1
  function: string
  input: string
  output: string
  to: 'stdout' | 'file' | 'folder'
  order: 'ordered' | 'unordered'
}

/** Every start of the program. */
export interface LogStart {
  started: string
  /** See `processIdentity()`. */
  process: string
}

/** An input that is finished. The names are for scripts: they stay as they are. */
export interface LogItem {
  item: number
  status: 'ok' | 'failed'
  /** When it began to run for the last time; not known when its worker died or its time was over. */
  started?: string
  ms?: number
  attempts?: number
  /** Bytes of the output file, together with the result of this input. */
  end?: number
  /** 32 bits of the SHA-256 of the input, to see whether a later run has the same inputs. */
  hash: string
  /** The beginning of the input. */
  input: string
  error?: string
}

/** How every head begins, so that a torn one is told from a file of somebody else. */
export const HEAD_START = '{"multiproc":"map",'

export function logHead({ reference, input, output, target, isUnordered }: MapSettings): LogHead {
  const { kind, delimiter, hasHeader, isNulSeparated, isSpread } = input
  const details = [
    ...(kind === 'csv'
      ? [`delimiter ${JSON.stringify(delimiter)}`, ...(hasHeader ? [] : ['no header'])]
      : []),
    ...(isNulSeparated ? ['null'] : []),
    ...(isSpread ? ['spread'] : []),
  ]
  return {
    multiproc: 'map',
    version: 1,
    function: reference,
    input: [kind, ...details].join(', '),
    output,
    to: target.is,
    order: isUnordered ? 'unordered' : 'ordered',
  }
}

/** A line as it was written, or `undefined` when it is none of ours. */
export function parseLogLine(line: string): LogHead | LogStart | LogItem | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const facts = value as Record<string, unknown>
  if (facts['multiproc'] === 'map') return value as LogHead
  if (typeof facts['process'] === 'string') return value as LogStart
  return isLogItem(facts) ? (value as LogItem) : undefined
}

function isLogItem({ item, status, end, hash }: Record<string, unknown>): boolean {
  return (
    isWhole(item, 1, NUMBER_MAX) &&
    (status === 'ok' || status === 'failed') &&
    (end === undefined || isWhole(end, 0, Number.MAX_SAFE_INTEGER)) &&
    typeof hash === 'string' &&
    /^[0-9a-f]{8}$/.test(hash)
  )
}

function isWhole(value: unknown, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
}
