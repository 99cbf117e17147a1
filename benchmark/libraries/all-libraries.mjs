// Every library that is measured, in the order of the report. To add one: write its adapter file and list it here.
import { bareNode } from './bare-node.mjs'
import { bullmq } from './bullmq.mjs'
import { cFloor } from './c-floor.mjs'
import { jestWorker } from './jest-worker.mjs'
import { multiprocCluster } from './multiproc-cluster.mjs'
import { multiproc } from './multiproc.mjs'
import { piscina } from './piscina.mjs'
import { poolifier } from './poolifier.mjs'
import { python } from './python.mjs'
import { tinypool } from './tinypool.mjs'
import { workerpool } from './workerpool.mjs'

/**
 * @typedef {object} BenchmarkPool
 * @property {(task: string, argument: unknown) => PromiseLike<unknown>} run One call of a function of tasks/tasks.cjs.
 * @property {(task: string, items: unknown[]) => PromiseLike<unknown[]>} [map] The library's own map, when it has one.
 * @property {() => unknown} close Ends the pool without waiting for tasks; may return a promise.
 *
 * @typedef {object} BenchmarkCluster
 * @property {{ kill: () => Promise<void>, start: () => Promise<unknown> }} server
 * @property {import('node:child_process').ChildProcess[]} workers The programs that take work.
 * @property {() => Promise<import('node:child_process').ChildProcess>} addAgent Starts one more.
 * @property {(task: string, argument: unknown, options?: { retries?: number }) => Promise<unknown>} run
 * @property {(task: string, items: unknown[], options?: { chunkSize?: number }) => Promise<unknown[]>} map
 * @property {(task: string, items: unknown[], options: { onResult: () => void }) => Promise<unknown[]>} each As `map()`
 * with one item for each message, and says of each result that it is there.
 *
 * @typedef {object} Library
 * @property {string} name
 * @property {string} [package] Name in node_modules, for its version.
 * @property {'subject' | 'peer' | 'python' | 'reference'} role Targets compare subjects with the best of the peers.
 * @property {'process' | 'thread' | 'python' | 'cluster'} home
 * @property {boolean} [mapsItemByItem] Its map sends a message an item, so it is measured over fewer items.
 * @property {string[]} [onlyRows] The ids of the rows it takes part in; all of them when absent.
 * @property {string} [startMethod] Python only.
 * @property {() => [name: string, version: string]} [server] What it needs besides, for the report.
 * @property {() => Promise<(workers: number) => BenchmarkPool>} [load] Imports the library; Python has none. Those of a
 * cluster give a function that resolves with a {@link BenchmarkCluster}.
 */

/** @type {Library[]} */
export const libraries = [
  ...multiproc,
  ...tinypool,
  ...workerpool,
  ...poolifier,
  ...jestWorker,
  ...piscina,
  ...bareNode,
  ...cFloor,
  ...python,
  ...multiprocCluster,
  ...bullmq,
]
