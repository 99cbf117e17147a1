// Every library that is measured, in the order of the report. To add one: write its adapter file and list it here.
import { bareNode } from './bare-node.mjs'
import { cFloor } from './c-floor.mjs'
import { jestWorker } from './jest-worker.mjs'
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
 * @typedef {object} Library
 * @property {string} name
 * @property {string} [package] Name in node_modules, for its version.
 * @property {'subject' | 'peer' | 'python' | 'reference'} role Targets compare subjects with the best of the peers.
 * @property {'process' | 'thread' | 'python'} home
 * @property {boolean} [mapsItemByItem] Its map sends a message an item, so it is measured over fewer items.
 * @property {string[]} [onlyRows] The ids of the rows it takes part in; all of them when absent.
 * @property {string} [startMethod] Python only.
 * @property {() => Promise<(workers: number) => BenchmarkPool>} [load] Imports the library; Python has none.
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
]
