/** What a pool and its workers are doing, as data. */
import type { PoolCore, PoolState } from './pool-core.ts'

/** What `Pool.stats()` tells of one worker. */
export interface WorkerStats {
  name: string
  pid: number | undefined
  /** Set for threads. */
  threadId: number | undefined
  state: 'starting' | 'ready' | 'stopping'
  /** Whether it waits to take the place of another; see the option `spares`. */
  isSpare: boolean
  /** Items that it was given and has not finished. */
  items: number
}

/** What `Pool.stats()` tells. */
export interface PoolStats {
  state: PoolState
  /** Calls that have not ended. */
  jobs: number
  workers: WorkerStats[]
}

export function statsOf(core: PoolCore): PoolStats {
  const workers: WorkerStats[] = []
  for (const runner of core.runners) {
    const { name, pid, threadId, state, isSpare } = runner
    if (state === 'dead') continue
    let items = 0
    for (const chunk of runner.chunks) items += chunk.count - chunk.received
    workers.push({ name, pid, threadId, state, isSpare, items })
  }
  return { state: core.state, jobs: core.jobs.size, workers }
}
