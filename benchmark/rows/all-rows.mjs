// Every measurement, in the order of the report. To add one: write its file, list it here, and add it to
// python/measure.py when Python has the same thing.
import { bullmq } from '../libraries/bullmq.mjs'
import { multiprocCluster } from '../libraries/multiproc-cluster.mjs'
import { argument1MiB } from './argument-1mib.mjs'
import { cluster1MiB, cluster1MiBParallel } from './cluster-1mib.mjs'
import { clusterCpuAgents, clusterSleepAgents } from './cluster-agents.mjs'
import { clusterKillAgent, clusterKillChild, clusterKillServer } from './cluster-recovery.mjs'
import { clusterRoundTrip, clusterRoundTripP99 } from './cluster-round-trip.mjs'
import { clusterChunk1, clusterChunk16, clusterSmallItems } from './cluster-throughput.mjs'
import { cpuScaling } from './cpu-scaling.mjs'
import { firstResultCold } from './first-result-cold.mjs'
import { firstResult } from './first-result.mjs'
import { idleMemory } from './idle-memory.mjs'
import { lockContended } from './lock-contended.mjs'
import { lockHandOver } from './lock-hand-over.mjs'
import { lockUncontended } from './lock-uncontended.mjs'
import { manager1, manager4, manager8 } from './manager-dict.mjs'
import { mapSquares } from './map-squares.mjs'
import { pipe1MiB } from './pipe-1mib.mjs'
import { pipeOneWay } from './pipe-one-way.mjs'
import { pipeRoundTrip } from './pipe-round-trip.mjs'
import { queueBatches, queueMessages } from './queue-messages.mjs'
import { result1MiB } from './result-1mib.mjs'
import { roundTrip } from './round-trip.mjs'
import { shared64MiB } from './shared-64mib.mjs'
import { singleTasks } from './single-tasks.mjs'

/**
 * A target compares the median of its `subject` with a `reference`: times `factor` at least where higher is better, at
 * most where lower is better; or with `moreAtMost`, in the row's unit, on top of the reference; or with a plain
 * `atLeast` or `atMost`.
 *
 * @typedef {object} Target
 * @property {string} subject Name of a library.
 * @property {{ bestPeerOf: 'process' | 'thread' | 'python' | 'cluster' | 'any' } | { library: string }} [reference]
 * @property {number} [factor]
 * @property {number} [moreAtMost]
 * @property {number} [atLeast]
 * @property {number} [atMost]
 *
 * @typedef {object} Measured
 * @property {number[]} samples In the row's unit.
 * @property {string} [note] What the reader has to know about this number.
 *
 * @typedef {object} Row
 * @property {string} id
 * @property {string} title
 * @property {string} unit
 * @property {'higher' | 'lower'} better
 * @property {string} how
 * @property {Record<string, number>} size
 * @property {Record<string, number>} quickSize
 * @property {string[]} [onlyLibraries] The names of those that have the thing at all; every library when absent.
 * @property {Target[]} targets
 * @property {(job: { createPool: Function, workers: number, size: Record<string, number>, library: object }) => Promise<Measured>} measure
 */

/** @type {Row[]} */
const machineRows = [
  mapSquares,
  singleTasks,
  roundTrip,
  argument1MiB,
  result1MiB,
  shared64MiB,
  firstResultCold,
  firstResult,
  cpuScaling,
  idleMemory,
  queueMessages,
  queueBatches,
  pipeOneWay,
  pipeRoundTrip,
  pipe1MiB,
  lockUncontended,
  lockContended,
  lockHandOver,
  manager1,
  manager4,
  manager8,
]

const clusterLibraries = [...multiprocCluster, ...bullmq].map(({ name }) => name)

/** @type {Row[]} */
const clusterRows = [
  clusterSmallItems,
  clusterChunk1,
  clusterChunk16,
  clusterRoundTrip,
  clusterRoundTripP99,
  cluster1MiB,
  cluster1MiBParallel,
  clusterSleepAgents,
  clusterCpuAgents,
  clusterKillChild,
  clusterKillAgent,
  clusterKillServer,
].map(row => ({ onlyLibraries: clusterLibraries, ...row }))

/** A whole run of a group writes its results into files of this name. */
export const groups = { latest: machineRows, cluster: clusterRows }

export const rows = Object.values(groups).flat()
