/**
 * Reads the job log of an earlier run, and puts it and the output right again: see "Going on" in README.md of this
 * folder. Invariant: nothing is changed before all of the log has been read and believed.
 */
import {
  closeSync,
  createReadStream,
  createWriteStream,
  existsSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { processIdentity } from '../platform/process-facts.ts'
import { FinishedItems } from './finished-items.ts'
import { HEAD_START, type LogHead, type LogItem, parseLogLine } from './job-log-format.ts'
import { readLines } from './line-reader.ts'
import type { Target } from './map-options.ts'
import { UsageError } from './usage-error.ts'
import { writeAll } from './write-all.ts'

/** What an earlier run has left. */
export interface EarlierRun {
  finished: FinishedItems
  /** So many bytes of the output file are of finished inputs. */
  outputEnd: number
}

const BLOCK_BYTES = 1 << 16

/**
 * @returns what is finished, or `undefined` when there is no log, or none of whose lines is whole
 * @throws UsageError when the log is of another run, of one that is still going on, or no log at all, or when the
 * output is not the one that it is about.
 */
export async function readJobLog(
  path: string,
  head: LogHead,
  target: Target,
): Promise<EarlierRun | undefined> {
  if (!existsSync(path)) return undefined
  const wholeEnd = endOfLastLine(path)
  if (wholeEnd === 0) {
    assertOurs(path)
    return undefined
  }
  // Step 1 and 2 of "Going on".
  const outputSize = target.is === 'file' ? (sizeOf(target.path) ?? 0) : Infinity
  const { finished, outputEnd, isCut } = await believe(path, { head, wholeEnd, outputSize })
  if (target.is === 'file') assertLineEnd(target.path, outputEnd, path)
  // Step 3: what follows the last whole line was being written when the program was killed.
  truncateSync(path, wholeEnd)
  if (isCut) await dropLinesBehind(path, outputEnd)
  if (target.is === 'file' && outputEnd < outputSize) truncateSync(target.path, outputEnd)
  return { finished, outputEnd }
}

interface Belief extends EarlierRun {
  /** Whether the output is shorter than the log says, and so the last lines of the log do not hold. */
  isCut: boolean
}

async function believe(
  path: string,
  { head, wholeEnd, outputSize }: { head: LogHead; wholeEnd: number; outputSize: number },
): Promise<Belief> {
  const finished = new FinishedItems()
  let outputEnd = 0
  let number = 0
  let isCut = false
  let lastProcess: string | undefined
  for await (const text of readLines(createReadStream(path, { end: wholeEnd - 1 }))) {
    number++
    const line = parseLogLine(text)
    if (line === undefined || (number === 1) !== 'multiproc' in line) throw notALog(path, number)
    if ('multiproc' in line) {
      assertSameRun(path, line, head)
    } else if ('process' in line) {
      lastProcess = line.process
    } else {
      isCut ||= (line.end ?? 0) > outputSize
      if (isCut) continue
      outputEnd = line.end ?? outputEnd
      finished.add(line.item, { hash: Number.parseInt(line.hash, 16), isFailed: line.status === 'failed' })
    }
  }
  assertEnded(path, lastProcess)
  return { finished, outputEnd, isCut }
}

/** A power failure can take the end of the output and leave the log. What that end was of runs again. */
async function dropLinesBehind(path: string, outputEnd: number): Promise<void> {
  const part = `${path}.part`
  const copy = createWriteStream(part)
  for await (const text of readLines(createReadStream(path))) {
    const line = parseLogLine(text) as LogItem
    if ((line.end ?? 0) > outputEnd) break
    await writeAll(copy, `${text}\n`)
  }
  await new Promise<void>((resolve, reject) => {
    copy.once('error', reject)
    copy.end(resolve)
  })
  renameSync(part, path)
}

function assertOurs(path: string): void {
  const file = openSync(path, 'r')
  try {
    const block = Buffer.alloc(HEAD_START.length)
    const start = block.subarray(0, readSync(file, block)).toString()
    if (!HEAD_START.startsWith(start)) throw notALog(path, 1)
  } finally {
    closeSync(file)
  }
}

function assertSameRun(path: string, found: LogHead, wanted: LogHead): void {
  if (isDeepStrictEqual(found, wanted)) return
  const facts = Object.keys(wanted) as (keyof LogHead)[]
  const differing = facts.filter(name => found[name] !== wanted[name])
  throw new UsageError(
    `Cannot resume "${path}": it is the log of another run, with ${differing.map(name => `${name} "${found[name]}" and not "${wanted[name]}"`).join(', ')}\nTo fix: use the options of the first run, or begin anew with another log`,
  )
}

function assertEnded(path: string, identity: string | undefined): void {
  const pid = Number.parseInt(identity ?? '', 10)
  if (identity === undefined || !(pid > 0) || processIdentity(pid) !== identity) return
  throw new UsageError(
    `Cannot resume "${path}": the run that writes it is still going on (pid ${pid})\nTo fix: wait for its end, or end it`,
  )
}

/** The output of a run ends a line where its log says. */
function assertLineEnd(path: string, end: number, log: string): void {
  if (end === 0) return
  const file = openSync(path, 'r')
  try {
    const last = Buffer.alloc(1)
    if (readSync(file, last, 0, 1, end - 1) === 1 && last.toString() === '\n') return
  } finally {
    closeSync(file)
  }
  throw new UsageError(
    `Cannot resume: "${path}" is not the output that "${log}" is about, or was changed since: no line ends at byte ${end}\nTo fix: name the output of the first run, or begin anew with another log`,
  )
}

function notALog(path: string, number: number): UsageError {
  return new UsageError(
    `"${path}" is no job log of multiproc map, or was changed: its line ${number} is none of such a log\nTo fix: name another file with --joblog, or delete this one to begin anew`,
  )
}

/** Behind the last newline of a file; 0 when there is none. */
function endOfLastLine(path: string): number {
  const file = openSync(path, 'r')
  try {
    const block = Buffer.alloc(BLOCK_BYTES)
    for (let end = fstatSync(file).size; end > 0; end -= BLOCK_BYTES) {
      const start = Math.max(0, end - BLOCK_BYTES)
      const count = readSync(file, block, 0, end - start, start)
      const at = block.subarray(0, count).lastIndexOf('\n')
      if (at >= 0) return start + at + 1
    }
    return 0
  } finally {
    closeSync(file)
  }
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size
}
