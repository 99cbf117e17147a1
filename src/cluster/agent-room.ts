/**
 * How much work an agent takes: chunks that are short are fetched ahead, and what then waits for longer than was to be
 * expected goes to others. Invariant: an agent whose processes are all busy keeps nothing for long that another could run.
 */
import { LookAhead } from './look-ahead.ts'
import type { ServedPool } from './served-pool.ts'

/** Chunks that take longer wait where any agent can have them, and no chunk waits for so long here. */
const prefetchMsMax = 500
const lookEveryMs = 100

export class AgentRoom {
  readonly #processes: number
  readonly #pools: readonly ServedPool[]
  readonly #ahead = new LookAhead({ longMs: prefetchMsMax })
  /** What was fetched ahead had to be given back, and no worker has become free since. */
  #isStuck = false
  #isPullScheduled = false
  /** Stopped in close(). */
  readonly #timer = setInterval(() => this.#giveBackWaiting(), lookEveryMs).unref()

  /** `pools`: to which the agent adds those that it serves. */
  constructor(processes: number, pools: readonly ServedPool[]) {
    this.#processes = processes
    this.#pools = pools
  }

  close(): void {
    clearInterval(this.#timer)
  }

  get chunks(): number {
    return this.#pools.reduce((sum, pool) => sum + pool.heldCount, 0)
  }

  /** How many more chunks there is room for now. */
  get left(): number {
    const bytes = this.#pools.reduce((sum, pool) => sum + pool.heldBytes, 0)
    return this.#processes * (this.#isStuck ? 1 : this.#ahead.perProcess(bytes)) - this.chunks
  }

  /** A chunk has ended. */
  onRoom(elapsedMs: number): void {
    if (elapsedMs > 0) {
      this.#ahead.note(elapsedMs)
      this.#isStuck = false
    }
    // Several chunks may end in one turn.
    if (this.#isPullScheduled) return
    this.#isPullScheduled = true
    queueMicrotask(() => {
      this.#isPullScheduled = false
      for (const pool of this.#pools) pool.pull()
    })
  }

  /** What waits for longer than was to be expected, for a process or for resources: another agent may have them. */
  #giveBackWaiting(): void {
    const begunCount = this.#pools.reduce((sum, pool) => sum + pool.begunCount, 0)
    const isBusy = begunCount >= this.#processes
    const beforeMs = performance.now() - prefetchMsMax
    for (const pool of this.#pools) {
      if (pool.giveBackWaiting(beforeMs, { isBusy })) this.#isStuck = true
    }
  }
}
