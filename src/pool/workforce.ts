/**
 * The workers of a pool as a whole: how many there are to be, who takes whose place, and who is not needed any more.
 * Invariant: while the pool needs workers and no pause before a restart is on, there are as many that start or work as
 * are wanted, and no more. See "How many workers there are" in README.md.
 */
import { ClosedError } from '../errors.ts'
import type { Chunk } from './chunk.ts'
import type { Life } from './life-options.ts'
import { RestartGuard } from './restart-guard.ts'
import type { WorkerRunner } from './worker-runner.ts'

/** What a new worker is to be. */
export interface WorkerStart {
  generation: number
  isSpare: boolean
  /** Its place among the workers that are not spares; the lowest that is free. */
  place: number | undefined
  cpus: readonly number[] | undefined
}

/** The pool, as its workforce sees it. */
export interface WorkforceOwner {
  readonly name: string
  /** Whether there is, or may come, something to do. */
  isInNeed(): boolean
  /** Whether it accepts work. */
  isOpen(): boolean
  /** Starts a worker, which the workforce then has. */
  startWorker(start: WorkerStart): WorkerRunner
  onStartFailed(error: unknown): void
  /** A worker that is ready can have work. */
  onPromoted(): void
  /** A pause before a restart, or a resize, is over. */
  onChange(): void
}

/** A resize that is not done. */
interface Resizing {
  /** Workers that were told to end. */
  leaving: Set<WorkerRunner>
  /** How many have yet to become ready. */
  arriving: number
  done: Promise<void>
  resolve: () => void
  reject: (reason: unknown) => void
}

export class Workforce {
  /** All that have not ended, also spares and those that are about to end. */
  readonly runners = new Set<WorkerRunner>()
  readonly restarts = new RestartGuard()
  readonly #owner: WorkforceOwner
  readonly #life: Life
  #processes: number
  /** How many there are to be now: fewer than `#processes` before they are needed, and after some were idle for long. */
  #wanted: number
  #pause: NodeJS.Timeout | undefined
  #isRefillScheduled = false
  #resizing: Resizing | undefined

  constructor(owner: WorkforceOwner, { processes, life }: { processes: number; life: Life }) {
    this.#owner = owner
    this.#life = life
    this.#processes = processes
    this.#wanted = life.isOnDemand ? life.processesMin : processes
  }

  get processes(): number {
    return this.#processes
  }

  /** Those that workers have. */
  *chunks(): Generator<Chunk> {
    for (const { chunks } of this.runners) yield* chunks
  }

  get chunkCount(): number {
    let count = 0
    for (const runner of this.runners) count += runner.chunkCount
    return count
  }

  /** Whether workers could be started for work that waits. */
  get canGrow(): boolean {
    return this.#wanted < this.#processes
  }

  /** Whether a restart waits for its time. */
  get isPausing(): boolean {
    return this.#pause !== undefined
  }

  get isResizing(): boolean {
    return this.#resizing !== undefined
  }

  /** Starts the first workers. Throws what the first that cannot be started throws. */
  begin(): void {
    this.#fill()
  }

  /** One has ended, or is about to: somebody takes its place, after a pause when many have died. */
  replace(): void {
    if (this.#pause || !this.#owner.isInNeed()) return
    const { delayMs } = this.restarts
    if (delayMs === 0) {
      this.#fillOrFail()
      return
    }
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      this.#fillOrFail()
      this.#owner.onChange()
    }, delayMs)
    // The pool keeps the program alive while somebody waits for its work.
    this.#pause.unref()
  }

  cancelPause(): void {
    clearTimeout(this.#pause)
    this.#pause = undefined
  }

  /** So many items wait, and nobody is free: those who left because they had nothing to do are missed. */
  demand(items: number): void {
    const busy = this.#active().filter(runner => runner.chunkCount > 0).length
    const wanted = Math.min(this.#processes, busy + items)
    if (wanted <= this.#wanted) return
    this.#wanted = wanted
    this.replace()
  }

  /** Ends workers that have had nothing to do for too long. */
  endIdle(nowMs: number): void {
    const { idleMsMax, processesMin } = this.#life
    if (idleMsMax === undefined || this.#wanted <= processesMin) return
    const idle = this.#idle().filter(runner => nowMs - runner.idleSinceMs >= idleMsMax)
    for (const runner of idle.slice(0, this.#wanted - processesMin)) {
      runner.dismiss()
      this.#wanted--
    }
  }

  /** A worker has become ready. */
  noteReady(runner: WorkerRunner): void {
    if (this.#resizing && !runner.isSpare) this.#resizing.arriving--
    this.#checkResized()
    this.#refillLater()
  }

  /** A worker has ended. */
  remove(runner: WorkerRunner): void {
    this.runners.delete(runner)
    this.#resizing?.leaving.delete(runner)
    this.#checkResized()
  }

  /** Resolves when there are as many. A later call takes the place of one that is not done: both end together. */
  async resize(processes: number): Promise<void> {
    const growsLater = processes < this.#processes || this.#life.isOnDemand
    this.#wanted = growsLater ? Math.min(this.#wanted, processes) : processes
    this.#processes = processes
    const surplus = this.#active().length - this.#wanted
    // Those that are idle go first, then those that have not begun, and last those that have something to finish.
    const order = [...this.#idle(), ...this.#in('starting'), ...this.#in('ready')]
    const leaving = [...new Set(order)].slice(0, Math.max(0, surplus))
    for (const runner of leaving) runner.dismiss()
    const resizing = (this.#resizing ??= newResizing())
    for (const runner of leaving) resizing.leaving.add(runner)
    resizing.arriving = Math.max(0, this.#wanted - this.#in('ready').length)
    this.replace()
    this.#checkResized()
    this.#owner.onChange()
    await resizing.done
  }

  /** The pool has ended. */
  end(reason: Error | undefined): void {
    const resizing = this.#resizing
    this.#resizing = undefined
    resizing?.reject(
      reason ??
        new ClosedError(
          `The pool "${this.#owner.name}" ended before it had ${this.#processes} workers\nTo fix: wait for resize() before close() or terminate()`,
        ),
    )
  }

  #checkResized(): void {
    const resizing = this.#resizing
    if (!resizing || resizing.leaving.size > 0) return
    if (resizing.arriving > 0 && this.#in('ready').length < this.#wanted) return
    this.#resizing = undefined
    resizing.resolve()
    this.#owner.onChange()
  }

  /** One that is about to end is replaced already, so that the next one starts meanwhile. */
  #active(): WorkerRunner[] {
    return [...this.runners].filter(runner => !runner.isSpare && runner.state !== 'stopping')
  }

  #in(state: 'starting' | 'ready'): WorkerRunner[] {
    return this.#active().filter(runner => runner.state === state)
  }

  /** Those without work, who has waited longest first. */
  #idle(): WorkerRunner[] {
    const idle = this.#in('ready').filter(runner => runner.chunkCount === 0)
    return idle.toSorted((a, b) => a.idleSinceMs - b.idleSinceMs)
  }

  #fillOrFail(): void {
    try {
      this.#fill()
    } catch (error) {
      this.#owner.onStartFailed(error)
    }
  }

  #fill(): void {
    while (this.#owner.isInNeed() && this.#active().length < this.#wanted) {
      const spare = this.#bestSpare()
      if (spare) this.#promote(spare)
      else this.#start(false)
    }
    this.#refillLater()
  }

  #start(isSpare: boolean): void {
    const place = isSpare ? undefined : this.#freePlace()
    const { generation } = this.restarts
    this.runners.add(this.#owner.startWorker({ generation, isSpare, place, cpus: this.#cpusOf(place) }))
  }

  #promote(spare: WorkerRunner): void {
    const place = this.#freePlace()
    spare.promote({ place, generation: this.restarts.generation, cpus: this.#cpusOf(place) })
    if (spare.state !== 'ready') return
    if (this.#resizing) this.#resizing.arriving--
    this.#owner.onPromoted()
  }

  /** One that is ready, or else one that is on its way. */
  #bestSpare(): WorkerRunner | undefined {
    const spares = this.#spares()
    return spares.find(runner => runner.state === 'ready') ?? spares[0]
  }

  #spares(): WorkerRunner[] {
    return [...this.runners].filter(runner => runner.isSpare && runner.state !== 'stopping')
  }

  #freePlace(): number {
    const taken = new Set(this.#active().map(runner => runner.place))
    let place = 0
    while (taken.has(place)) place++
    return place
  }

  #cpusOf(place: number | undefined): readonly number[] | undefined {
    const { cpus } = this.#life
    return cpus === undefined || place === undefined ? undefined : cpus[place % cpus.length]
  }

  /** Spares are started when nobody waits for the processors: after the workers, and after what goes on now. */
  #refillLater(): void {
    if (this.#life.spares === 0 || this.#isRefillScheduled) return
    this.#isRefillScheduled = true
    setImmediate(() => {
      this.#isRefillScheduled = false
      this.#refill()
    }).unref()
  }

  #refill(): void {
    const isWanted = (): boolean => this.#owner.isOpen() && this.#spares().length < this.#life.spares
    if (this.#pause || this.#in('starting').length > 0) return
    try {
      while (isWanted()) this.#start(true)
    } catch (error) {
      this.#owner.onStartFailed(error)
    }
  }
}

function newResizing(): Resizing {
  let resolve!: () => void
  let reject!: (reason: unknown) => void
  const done = new Promise<void>((onDone, onFailed) => {
    resolve = onDone
    reject = onFailed
  })
  return { leaving: new Set(), arriving: 0, done, resolve, reject }
}
