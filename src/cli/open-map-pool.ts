/**
 * The pool of a run of `multiproc map`, and what it calls for each item: workers of this machine are prepared once, by an
 * initializer; those of a cluster belong to agents, so there the task goes along with what is called.
 */
import { fileURLToPath } from 'node:url'
import { Pool } from '../pool/pool.ts'
import type { Task, TaskLocation } from './load-task.ts'
import type { MapSettings } from './map-options.ts'
import {
  type ItemOutcome,
  type MapWorkerSettings,
  type SentItem,
  itemRunner,
  prepareMapWorker,
  runItem,
} from './map-worker.ts'

export interface MapPool {
  /** Terminated by whoever opened it. */
  pool: Pool
  runItem: (item: SentItem) => ItemOutcome | Promise<ItemOutcome>
}

export function openMapPool(
  settings: MapSettings,
  { location, task }: { location: TaskLocation; task: Task },
): MapPool {
  const { cluster, processes, context } = settings
  const forWorkers = workerSettings(settings, location)
  if (cluster) {
    const pool = new Pool({
      cluster: cluster.options,
      name: cluster.pool,
      requires: cluster.requires,
    })
    return { pool, runItem: itemRunner(task, forWorkers) }
  }
  const pool = new Pool({
    processes,
    context,
    initializer: prepareMapWorker,
    initArgs: [forWorkers],
    name: 'multiproc map',
  })
  return { pool, runItem }
}

function workerSettings(
  { input, output, retries, joblog }: MapSettings,
  task: TaskLocation,
): MapWorkerSettings {
  return {
    task,
    places: [task.url, fileURLToPath(task.url)],
    input: input.kind === 'json' || input.kind === 'csv' ? 'json' : 'text',
    isSpread: input.isSpread,
    output: output === 'text' ? 'text' : 'json',
    retries,
    isTimed: joblog !== undefined,
  }
}
