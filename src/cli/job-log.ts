/**
 * The file that tells which inputs are finished. Invariant: a line is written after the result that it tells of, never
 * before; README.md of this folder says why that is enough.
 */
import { closeSync, openSync } from 'node:fs'
import { processIdentity } from '../platform/process-facts.ts'
import { hashOf } from './finished-items.ts'
import type { LogHead, LogItem, LogStart } from './job-log-format.ts'
import type { GivenInput } from './map-inputs.ts'
import type { ItemFailure, ItemTiming } from './map-worker.ts'
import { writeAllSync } from './write-all.ts'

const INPUT_CHARACTERS_MAX = 200
const ERROR_CHARACTERS_MAX = 500

export class JobLog {
  readonly #file: number

  /**
   * Opens the file to go on at its end, or makes a new one with a head.
   *
   * @throws SystemError when it cannot be written.
   */
  constructor(path: string, head: LogHead, { isNew }: { isNew: boolean }) {
    // Closed in `close()`.
    this.#file = openSync(path, isNew ? 'w' : 'a')
    const start: LogStart = {
      started: new Date().toISOString(),
      process: processIdentity(process.pid) ?? String(process.pid),
    }
    this.append([...(isNew ? [JSON.stringify(head)] : []), JSON.stringify(start)])
  }

  /** Writes lines, in one go. */
  append(lines: readonly string[]): void {
    if (lines.length > 0) writeAllSync(this.#file, `${lines.join('\n')}\n`)
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** The line of a finished input, but for the end of the output, which its writer knows. */
export function logItem(
  { number, text }: GivenInput,
  { failure, timing }: { failure: ItemFailure | undefined; timing: ItemTiming | undefined },
): LogItem {
  return {
    item: number,
    status: failure === undefined ? 'ok' : 'failed',
    ...(timing === undefined
      ? {}
      : {
          started: new Date(timing.startedAtMs).toISOString(),
          ms: Math.round(timing.tookMs * 1000) / 1000,
          attempts: timing.attempt,
        }),
    hash: hashOf(text).toString(16).padStart(8, '0'),
    input: text.slice(0, INPUT_CHARACTERS_MAX),
    ...(failure === undefined ? {} : { error: failure.error.slice(0, ERROR_CHARACTERS_MAX) }),
  }
}
