/**
 * What comes back from workers, and what becomes of it: results and failures are delivered to their jobs, failures that
 * may be tried again go back into the line, and a dead worker's chunks are taken apart. Invariant: each item that was
 * given to a worker leaves here exactly once, to its job or into the line.
 */
import { stackText } from '../platform/stack-text.ts'
import { TimeoutError } from '../errors.ts'
import { decode, decodeNumbers, decodeThrown, encode, prepare } from '../serialize/codec.ts'
import { type Chunk, slicePart } from './chunk.ts'
import { type End, poisoned, poisonedElsewhere, timedOut, workerDied } from './death-report.ts'
import { type ShippedFunction, fatalLoadsMax } from './function-table.ts'
import type { Job, Part, Relay } from './job.ts'
import type { Values } from './number-array.ts'
import type { Body, WorkerIdentity } from './protocol.ts'
import { type Recovery, loadingFunction, recoverChunk } from './recover-chunk.ts'
import { isRetried, retryDelayMs } from './retry-policy.ts'
import type { Death } from './worker-death.ts'
import type { WorkerRunner } from './worker-runner.ts'

export interface OutcomesOptions {
  /** An item that may be retried is not, when so many workers have died while they ran it. */
  deathsMax: number
  /** These are to be run; they go first. */
  giveBack(parts: Part[]): void
  /** Something was given back later than the call that caused it. */
  onDelayed(): void
  /** A run of an item has failed, in `worker` if that is known. */
  onFailed(failure: {
    part: Part
    error: unknown
    worker: WorkerRunner | undefined
    isRetried: boolean
  }): void
}

export class TaskOutcomes {
  readonly #options: OutcomesOptions
  /** Items that wait for their next run. Stopped in `clear()`. */
  readonly #delays = new Set<NodeJS.Timeout>()

  constructor(options: OutcomesOptions) {
    this.#options = options
  }

  /** Some items returned. */
  received(
    runner: WorkerRunner,
    {
      chunk,
      count,
      isPacked,
      bodies,
      elapsedMs,
    }: { chunk: Chunk; count: number; isPacked: boolean; bodies: Body[]; elapsedMs: number },
  ): void {
    const base = chunk.received
    const { relay, index: relayed } = relayOf(chunk, base)
    const runs = [...runner.take(chunk, count)]
    if (relay) {
      relay.received(relayed, { count, isPacked, bodies, elapsedMs })
      return
    }
    if (!isPacked) {
      for (const { job, index, count: length, offset } of runs) {
        for (let at = 0; at < length; at++) {
          if (this.#endGivenUp(chunk, base + offset + at)) continue
          rebuild(
            bodies[offset + at]!,
            value => job.succeed(index + at, value),
            error => job.fail(index + at, error),
          )
        }
      }
      return
    }
    // Some were timed out while they ran: what they returned afterwards is dropped.
    const dropped = new Set<number>()
    if (chunk.givenUp) {
      for (let at = 0; at < count; at++) if (this.#endGivenUp(chunk, base + at)) dropped.add(at)
    }
    const deliver = (decoded: unknown): void => {
      const values = decoded as Values
      for (const { job, index, count: length, offset } of runs) {
        if (dropped.size === 0 && length === 1) {
          job.succeed(index, values[offset])
          continue
        }
        if (dropped.size === 0) {
          job.succeedAll(index, length === count ? values : values.slice(offset, offset + length))
          continue
        }
        for (let at = 0; at < length; at++) {
          if (!dropped.has(offset + at)) job.succeed(index + at, values[offset + at])
        }
      }
    }
    const refuse = (error: unknown): void => {
      for (const { job, index, count: length, offset } of runs) {
        for (let at = 0; at < length; at++) if (!dropped.has(offset + at)) job.fail(index + at, error)
      }
    }
    const isOfNumbers = dropped.size === 0 && runs.every(({ job }) => job.wantsNumbers)
    const body = bodies[0]!
    if (isOfNumbers) rebuild(body, deliver, refuse, bytes => decodeNumbers(bytes) ?? decodeBody(body))
    else rebuild(body, deliver, refuse)
  }

  /** One item threw. */
  failed(
    runner: WorkerRunner,
    {
      chunk,
      body,
      elapsedMs,
      worker,
    }: { chunk: Chunk; body: Body; elapsedMs: number; worker: WorkerIdentity | undefined },
  ): void {
    const at = chunk.received
    const part = chunk.at(at)
    for (const run of runner.take(chunk, 1)) void run
    if (part.job.relay) {
      part.job.relay.failed(part.first, { body, elapsedMs, worker: { name: runner.name, pid: runner.pid } })
      return
    }
    if (this.#endGivenUp(chunk, at)) return
    rebuild(
      body,
      reason => this.fail(part, reason, runner),
      error => part.job.fail(part.first, error),
      bytes => this.thrown(worker ?? runner, bytes, part.job),
    )
  }

  /** Items that were called off never began: their jobs have been told already. */
  skipped(runner: WorkerRunner, { chunk, count }: { chunk: Chunk; count: number }): void {
    const base = chunk.received
    const { relay, index } = relayOf(chunk, base)
    for (const run of runner.take(chunk, count)) void run
    if (relay) relay.skipped(index, count)
    else for (let at = 0; at < count; at++) this.#endGivenUp(chunk, base + at)
  }

  // ---- What other machines say, which have pools of their own ----

  /** A worker there died of one item. */
  diedElsewhere(runner: WorkerRunner, { chunk, body }: { chunk: Chunk; body: Body }): void {
    const at = chunk.received
    const part = chunk.at(at)
    for (const run of runner.take(chunk, 1)) void run
    const settle = (error: unknown): void => {
      const kills = part.kills + 1
      const givenUp = chunk.givenUp?.get(at)
      chunk.givenUp?.delete(at)
      // It was killed for its time-out, which its job has been told.
      const isAgain = givenUp ? givenUp.isRetried : this.#isRetried(part, error)
      if (isAgain === true && kills < this.#options.deathsMax) this.#again({ ...part, kills })
      else if (isAgain === true) part.job.fail(part.first, poisonedElsewhere(error, { part, kills }))
      else if (isAgain === false) {
        if (!givenUp) part.job.died(part.first, error)
      } else part.job.fail(part.first, isAgain.reason)
    }
    rebuild(body, settle, settle, bytes => this.thrown(runner, bytes, part.job))
  }

  /** An item has used up its time there. Its outcome is still to come, and does not count. */
  timedOutElsewhere(
    runner: WorkerRunner,
    { chunk, index, body }: { chunk: Chunk; index: number; body: Body },
  ): void {
    const { job } = chunk.at(index)
    let error: unknown
    // One of our own classes: no module of the user is needed for it.
    const keep = (value: unknown): void => {
      error = value
    }
    rebuild(body, keep, keep, bytes => this.thrown(runner, bytes, job))
    this.#giveUp(chunk, index, error)
  }

  /** The next items are to be sent there again. */
  againElsewhere(
    runner: WorkerRunner,
    { chunk, count, isSolo, deaths }: { chunk: Chunk; count: number; isSolo: boolean; deaths: number },
  ): void {
    const base = chunk.received
    const parts = chunk.slice(base, base + count, { isSolo })
    for (const run of runner.take(chunk, count)) void run
    for (const part of parts) part.deaths = deaths
    this.#options.giveBack(this.withoutGivenUp(chunk, parts))
  }

  /** What was thrown in a worker, with the stack of the caller. */
  thrown({ name, pid }: WorkerIdentity, bytes: Uint8Array, job: Job | undefined): unknown {
    const callerStack = stackText(job?.caller)
    return decodeThrown(bytes, {
      pid,
      workerName: name,
      ...(callerStack === undefined ? {} : { callerStack }),
    })
  }

  /** One item has failed: it is run again if its policy says so. */
  fail(part: Part, error: unknown, worker?: WorkerRunner): void {
    const isAgain = this.#isRetried(part, error)
    this.#tell(part, error, { worker, isRetried: isAgain === true })
    if (isAgain === true) this.#again(part)
    else part.job.fail(part.first, isAgain === false ? error : isAgain.reason)
  }

  /**
   * A running item has used up its time. Its job is told now, unless it is to run again: that waits for the end of this
   * run, so that there is never more than one. Returns nothing; the run is stopped by the caller.
   */
  giveUp(chunk: Chunk, at: number): void {
    const part = chunk.at(at)
    const error = this.#timedOut(chunk, part, false)
    if (part.job.relay) {
      chunk.givenUp ??= new Map()
      chunk.givenUp.set(at, { isRetried: false })
      part.job.relay.timedOut(part.first, error)
      return
    }
    this.#giveUp(chunk, at, error)
  }

  #giveUp(chunk: Chunk, at: number, error: unknown): void {
    const part = chunk.at(at)
    const isAgain = this.#isRetried(part, error)
    this.#tell(part, error, { worker: undefined, isRetried: isAgain === true })
    const givenUp = (chunk.givenUp ??= new Map())
    givenUp.set(at, { isRetried: isAgain === true })
    if (isAgain !== true) part.job.fail(part.first, isAgain === false ? error : isAgain.reason)
  }

  /** Settles what a dead worker was running, keeps what it had finished, and gives the rest back, in its old order. */
  recover(runner: WorkerRunner, death: Death, end: End): { isUseful: boolean } {
    const back: Part[] = []
    let isUseful = false
    for (const [position, chunk] of death.chunks.entries()) {
      const isLoadGivenUp = diedLoading(chunk, death) && this.#countFatalLoad(chunk.task, death)
      const recovery = recoverChunk(chunk, death.journal, { isFirst: position === 0, isLoadGivenUp })
      const { relay } = chunk.parts[0]!.job
      if (relay) {
        const deathOf = (part: Part): unknown =>
          death.sentence?.why === 'timeout' && !chunk.givenUp?.has(part.first - chunk.parts[0]!.first)
            ? this.#timedOut(chunk, part, true)
            : workerDied(runner, { task: chunk.task, part, end })
        relayRecovery(relay, chunk, { recovery, deathOf })
        isUseful ||= recovery.finished.length + recovery.failed.length > 0
        chunk.release(recovery.back)
        continue
      }
      for (const finished of recovery.finished) {
        const { index } = finished
        isUseful = true
        if (this.#endGivenUp(chunk, index)) continue
        const part = chunk.at(index)
        if ('value' in finished) {
          part.job.succeed(part.first, finished.value)
          continue
        }
        rebuild(
          { bytes: finished.result },
          value => part.job.succeed(part.first, value),
          error => part.job.fail(part.first, error),
        )
      }
      for (const index of recovery.failed) {
        isUseful = true
        // It was killed for its time-out, or died on the way to its own end: both have cost a worker.
        if (this.#endGivenUp(chunk, index, { runner, end })) continue
        const part = chunk.at(index)
        if (death.sentence?.why === 'timeout') this.fail(part, this.#timedOut(chunk, part, true), runner)
        else this.#died(runner, { chunk, part, end })
      }
      chunk.release(recovery.back)
      back.push(...this.withoutGivenUp(chunk, recovery.back))
    }
    this.#options.giveBack(back)
    return { isUseful }
  }

  /**
   * Leaves out of `parts` what was timed out before: its run has ended, with its worker or because the chunk is given
   * back, and it is not simply run again.
   */
  withoutGivenUp(chunk: Chunk, parts: Part[]): Part[] {
    let kept = parts
    // Those that are ended here are taken out of the map meanwhile, which its iterator allows.
    for (const at of chunk.givenUp?.keys() ?? []) {
      const { job, first } = chunk.at(at)
      kept = kept.flatMap(part => {
        const offset = first - part.first
        if (part.job !== job || offset < 0 || offset >= part.count) return [part]
        return [
          ...(offset > 0 ? [slicePart(part, 0, offset, false)] : []),
          ...(offset + 1 < part.count ? [slicePart(part, offset + 1, part.count, false)] : []),
        ]
      })
      this.#endGivenUp(chunk, at)
    }
    return kept
  }

  /** The pool ends: nothing waits for its next run any more. */
  clear(): void {
    for (const timer of this.#delays) clearTimeout(timer)
    this.#delays.clear()
  }

  /** Returns whether the function is not to be loaded again by any worker for what the dead one had. */
  #countFatalLoad(task: ShippedFunction, { sentence }: Death): boolean {
    // A worker that was killed because somebody called its work off says nothing against the function.
    if (sentence !== undefined && sentence.why !== 'timeout') return false
    task.fatalLoads++
    return sentence !== undefined || task.fatalLoads >= fatalLoadsMax
  }

  #died(runner: WorkerRunner, { chunk, part, end }: { chunk: Chunk; part: Part; end: End }): void {
    const error = workerDied(runner, { task: chunk.task, part, end })
    const isAgain = this.#isRetried(part, error)
    this.#tell(part, error, { worker: runner, isRetried: isAgain === true })
    if (isAgain === true) this.#againAfterDeath(runner, { chunk, part, end })
    else if (isAgain === false) part.job.died(part.first, error)
    else part.job.fail(part.first, isAgain.reason)
  }

  /** It is to run again, unless it has cost too many workers. */
  #againAfterDeath(runner: WorkerRunner, { chunk, part, end }: { chunk: Chunk; part: Part; end: End }): void {
    const kills = part.kills + 1
    if (kills < this.#options.deathsMax) this.#again({ ...part, kills })
    else part.job.fail(part.first, poisoned(runner, { task: chunk.task, part, end }))
  }

  /** What was called off, or ended before, is no failure that anybody has to look at. */
  #tell(
    part: Part,
    error: unknown,
    { worker, isRetried }: { worker: WorkerRunner | undefined; isRetried: boolean },
  ): void {
    if (!part.job.isDone) this.#options.onFailed({ part, error, worker, isRetried })
  }

  #timedOut(chunk: Chunk, part: Part, isLoading: boolean): unknown {
    return timedOut(chunk.task, { part, timeoutMs: part.job.limits.timeoutMs ?? chunk.timeoutMs, isLoading })
  }

  /** What the caller's `when` throws is the failure of the item. */
  #isRetried({ job, attempt }: Part, error: unknown): boolean | { reason: unknown } {
    if (job.isDone) return false
    try {
      return job.asCaller(() => isRetried(job.limits.retries, error, attempt))
    } catch (reason) {
      return { reason }
    }
  }

  #again(part: Part): void {
    const next: Part = { ...part, attempt: part.attempt + 1 }
    part.job.retried++
    const delayMs = retryDelayMs(part.job.limits.retries!, part.attempt)
    if (delayMs < 1) {
      this.#options.giveBack([next])
      return
    }
    const timer = setTimeout(() => {
      this.#delays.delete(timer)
      this.#options.giveBack([next])
      this.#options.onDelayed()
    }, delayMs)
    // The pool keeps the program alive while somebody waits for the job.
    timer.unref()
    this.#delays.add(timer)
  }

  /**
   * Whether the item was timed out before; its run has ended now, by itself or by the death of its worker, and the next
   * may begin.
   */
  #endGivenUp(chunk: Chunk, at: number, death?: { runner: WorkerRunner; end: End }): boolean {
    const verdict = chunk.givenUp?.get(at)
    if (!verdict) return false
    chunk.givenUp!.delete(at)
    if (!verdict.isRetried) return true
    const part = chunk.at(at)
    if (death && !part.job.isDone) this.#againAfterDeath(death.runner, { chunk, part, end: death.end })
    else this.#again(part)
    return true
  }
}

/** Whoever passes on what comes of the item, and what it is called there; all items of a chunk have the same. */
function relayOf(chunk: Chunk, at: number): { relay: Relay | undefined; index: number } {
  const { job, first } = chunk.parts[0]!
  return { relay: job.relay, index: first + at }
}

function relayRecovery(
  relay: Relay,
  chunk: Chunk,
  { recovery, deathOf }: { recovery: Recovery; deathOf: (part: Part) => unknown },
): void {
  for (const finished of recovery.finished) {
    const body: Body = { bytes: 'value' in finished ? encode(finished.value) : finished.result }
    const { first } = chunk.at(finished.index)
    relay.received(first, { count: 1, isPacked: false, bodies: [body], elapsedMs: 0 })
  }
  for (const index of recovery.failed) {
    const part = chunk.at(index)
    const error = deathOf(part)
    if (error instanceof TimeoutError) relay.timedOut(part.first, error)
    relay.died(part.first, error)
  }
  relay.again(recovery.back)
}

function diedLoading(chunk: Chunk, { journal }: Death): boolean {
  return journal?.chunkId === chunk.id && journal.startedIndex === loadingFunction
}

/** Decodes a body now, or, when it refers to modules that are not loaded yet, as soon as they are. */
export function rebuild(
  body: Body,
  deliver: (value: unknown) => void,
  refuse: (error: unknown) => void,
  read: (bytes: Uint8Array) => unknown = () => decodeBody(body),
): void {
  const finish = (): void => {
    let value: unknown
    try {
      value = read(body.bytes)
    } catch (error) {
      refuse(error)
      return
    }
    deliver(value)
  }
  let loading: Promise<void> | undefined
  try {
    loading = prepare(body.bytes)
  } catch (error) {
    refuse(error)
    return
  }
  if (loading) loading.then(finish, refuse)
  else finish()
}

function decodeBody({ bytes, attachments }: Body): unknown {
  return decode(bytes, attachments ? { attachments } : undefined)
}
