/**
 * A file of what ran when, in the Trace Event Format that Perfetto and Chrome open. All times are of the clock that the
 * processes of a machine share, so that parents and workers are on one time axis. Invariant: what was written is a file
 * that opens, also when the program is killed before it ends the file (the format allows an array without its end).
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { threadId } from 'node:worker_threads'
import { invalidArgument, invalidState } from '../errors.ts'
import { monotonicMs } from '../platform/journal.ts'
import { assertKnownOptions } from '../platform/known-options.ts'

/** An event of the file; times in microseconds since the trace began. */
interface TraceEvent {
  /** `X`: something with a duration, `b` and `e`: begin and end of what overlaps others, `i`: a moment, `M`: a name. */
  ph: 'X' | 'b' | 'e' | 'i' | 'M'
  name: string
  cat?: string
  pid: number
  tid: number
  ts?: number
  dur?: number
  id?: number
  s?: 't'
  args?: Record<string, unknown>
}

/** Where something happens: a process, and a thread of it. */
export interface Track {
  pid: number
  tid: number
}

/** A piece of time, in milliseconds of the clock that `process.hrtime()` reads, which is that of all processes. */
export interface Span {
  name: string
  category: string
  startMs: number
  endMs: number
  args?: Record<string, unknown>
}

/** Options of {@link startTrace}. */
export interface TraceOptions {
  /** Events behind so many are counted and not written; one takes some 150 bytes. Default: 1000000. */
  eventsMax?: number | undefined
}

/** What a trace has written. */
export interface TraceSummary {
  path: string
  /** Events in the file. */
  events: number
  /** Events that were not written, because there were too many. */
  dropped: number
}

const bufferedCharactersMax = 64 * 1024
const eventsMaxDefault = 1_000_000

let current: Trace | undefined

/** The trace that is being written. */
export function currentTrace(): Trace | undefined {
  return current
}

/** A trace that is being written; {@link startTrace} makes it. */
export class Trace implements Disposable {
  readonly path: string
  readonly #fd: number
  readonly #eventsMax: number
  readonly #startedAtMs = monotonicMs()
  readonly #named = new Set<string>()
  #text = '[\n'
  #events = 0
  #dropped = 0
  #lastId = 0
  #failure: unknown
  #isStopped = false
  /** A program that ends without stop() has its last events in the file all the same. */
  readonly #atExit = (): void => this.#end()

  /** Use {@link startTrace}. */
  constructor(path: string, eventsMax: number) {
    this.path = path
    this.#eventsMax = eventsMax
    // Closed in `#end()`.
    this.#fd = openSync(path, 'w')
    process.once('exit', this.#atExit)
    this.nameTrack(ownTrack(), 'parent')
  }

  /** A name for what overlaps others. */
  nextId(): number {
    return ++this.#lastId
  }

  /** Says once what a process or thread is. */
  nameTrack({ pid, tid }: Track, name: string): void {
    const key = `${pid} ${tid}`
    if (this.#named.has(key) || this.#events >= this.#eventsMax) return
    this.#named.add(key)
    // A thread has the process of its parent, whose name stays.
    if (tid === 0 || pid !== process.pid)
      this.#write({ ph: 'M', name: 'process_name', pid, tid, args: { name } })
    this.#write({ ph: 'M', name: 'thread_name', pid, tid, args: { name } })
  }

  /** Something that took its time, among others that do not overlap it. */
  span({ pid, tid }: Track, { name, category, startMs, endMs, args = {} }: Span): void {
    // What began before the trace is shown from its beginning on.
    const ts = Math.max(0, this.#at(startMs))
    this.#write({
      ph: 'X',
      name,
      cat: category,
      pid,
      tid,
      ts,
      dur: Math.max(0, microseconds(this.#at(endMs) - ts)),
      args,
    })
  }

  /** Something begins that may overlap others. Returns what ends it. */
  begin(
    { name, category, args = {} }: Pick<Span, 'name' | 'category' | 'args'>,
    id = this.nextId(),
  ): (ending?: Record<string, unknown>) => void {
    const event = { name, cat: category, id, ...ownTrack() }
    this.#write({ ...event, ph: 'b', ts: this.#at(monotonicMs()), args })
    return (ending = {}) => this.#write({ ...event, ph: 'e', ts: this.#at(monotonicMs()), args: ending })
  }

  /** Something that took its time, and may overlap others of its process. */
  period({ pid, tid }: Track, { name, category, startMs, endMs, args = {} }: Span): void {
    const event = { name, cat: category, id: this.nextId(), pid, tid }
    const ts = Math.max(0, this.#at(startMs))
    this.#write({ ...event, ph: 'b', ts, args })
    this.#write({ ...event, ph: 'e', ts: Math.max(ts, this.#at(endMs)), args: {} })
  }

  /** Something happens now. */
  moment({ pid, tid }: Track, name: string): void {
    this.#write({ ph: 'i', s: 't', name, pid, tid, ts: this.#at(monotonicMs()) })
  }

  /** So many events were lost before they could be written. */
  noteDropped(count: number): void {
    this.#dropped += count
  }

  /**
   * Ends the file. What runs still is not in it any more.
   *
   * @throws the error of the system when the file could not be written. A second call gives the same.
   */
  stop(): TraceSummary {
    this.#end()
    if (this.#failure !== undefined) throw this.#failure
    return { path: this.path, events: this.#events, dropped: this.#dropped }
  }

  [Symbol.dispose](): void {
    this.stop()
  }

  #at(ms: number): number {
    return microseconds((ms - this.#startedAtMs) * 1e3)
  }

  #write(event: TraceEvent): void {
    if (this.#isStopped) return
    if (this.#events >= this.#eventsMax) {
      this.#dropped++
      return
    }
    this.#text += `${this.#events === 0 ? '' : ',\n'}${JSON.stringify(event)}`
    this.#events++
    if (this.#text.length >= bufferedCharactersMax) this.#flush()
  }

  /** Synchronous, so that nothing piles up in memory however fast events come. */
  #flush(): void {
    const text = this.#text
    this.#text = ''
    if (this.#failure !== undefined) return
    try {
      const bytes = Buffer.from(text)
      for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at)
    } catch (error) {
      // A full disk is the failure of stop(), and not that of whoever runs.
      this.#failure = error
    }
  }

  #end(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    if (current === this) current = undefined
    process.removeListener('exit', this.#atExit)
    this.#text += '\n]\n'
    this.#flush()
    closeSync(this.#fd)
  }
}

/** In whole nanoseconds. */
function microseconds(value: number): number {
  return Math.round(value * 1e3) / 1e3
}

/** That of the code that asks. */
export function ownTrack(): Track {
  return { pid: process.pid, tid: threadId }
}

/**
 * Writes a file of what the pools of this process do, until `stop()`: each call, each chunk on its way, and each task in
 * its worker, with the start of workers and their ends. Open it at https://ui.perfetto.dev or in chrome://tracing.
 *
 * @param path - the file; what was there before is overwritten
 * @throws ProcessError with code `ERR_INVALID_STATE` while another trace is being written, and the error of the system
 * when the file cannot be opened.
 *
 * @example
 * ```ts
 * import { tmpdir } from 'node:os'
 * import { join } from 'node:path'
 * import { Pool, startTrace } from 'multiproc'
 *
 * const trace = startTrace(join(tmpdir(), 'run.json'))
 * const pool = new Pool(2)
 * await pool.map(Math.sqrt, [1, 4, 9])
 * console.log(trace.stop().dropped) // 0
 * await pool.terminate()
 * ```
 */
export function startTrace(path: string, options?: TraceOptions): Trace {
  assertKnownOptions('startTrace', options, ['eventsMax'])
  const eventsMax = options?.eventsMax ?? eventsMaxDefault
  if (typeof path !== 'string' || !Number.isInteger(eventsMax) || eventsMax < 1) {
    throw invalidArgument(
      TypeError,
      'startTrace() takes the path of a file, and as "eventsMax" a whole number from 1\nTo fix: pass such values, as in startTrace("run.json")',
    )
  }
  if (current) {
    throw invalidState(
      `Cannot start a trace: another one is being written to ${current.path}\nTo fix: stop that one first`,
    )
  }
  current = new Trace(path, eventsMax)
  return current
}
