/**
 * A map on a cluster with which another program can go on when this one has ended. What it needs for that is on the
 * server: the call itself, what was sent of it, and the results. What stores and finds it there is loaded when it is
 * asked for. See "Jobs" in cluster/README.md.
 */
import { childEntry } from '../platform/child-entry.ts'
import type { Bundle } from './bundle-option.ts'
import type { ClusterSettings } from './cluster-option.ts'
import type { CallMode } from './protocol.ts'

/** The call, encoded. */
export interface KeptCall {
  readonly head: {
    mode: CallMode
    isSettled: boolean
    taskName: string
    items: number
    chunkSize: number | undefined
    bundles: Omit<Bundle, 'bytes'>[]
  }
  /** The function, as it is sent. */
  readonly task: Uint8Array
  /** The function with what it needs of its module, for agents that do not have that; or nothing. */
  readonly taskByValue: Uint8Array
  /** The items and the limits. */
  readonly content: Uint8Array
  /** The stores of `carryAcross()`, or nothing. */
  readonly stores: Uint8Array
}

/** A chunk of the call that was sent before, by another program. */
export interface KnownChunk {
  readonly chunkId: number
  readonly first: number
  readonly count: number
  readonly attempt: number
  readonly deaths: number
  readonly isSolo: boolean
  /** The key of what it requires. */
  readonly requires?: string
  /** Under which it was sent, if it may still be there. */
  readonly subject: string | undefined
}

/** A call that this program goes on with. */
export interface KeptJob {
  readonly jobId: string
  readonly session: string
  /**
   * Larger with every program that goes on with it. It begins at random, so that the chunks of a job that had the same id
   * before, of which the server or an agent may still know something, have other numbers.
   */
  readonly epoch: number
  /** From here on the stream of results has those of this job. */
  readonly fromSequence: number
  /** Those of the programs before, by their numbers. */
  readonly known: readonly KnownChunk[]
  /** What is stored of it beside its message. */
  readonly storedName: string | undefined
  /** Nobody is to go on with it any more. */
  isCalledOff: boolean
}

/** Chunks of one program have lower numbers than those of the next. All of them are safe integers. */
export const chunksPerEpoch = 2 ** 32
export const firstEpochMax = 2 ** 20

interface KeptJobs {
  createJob(settings: ClusterSettings, jobId: string, call: KeptCall): Promise<KeptJob>
  claimJob(settings: ClusterSettings, jobId: string): Promise<{ job: KeptJob; call: KeptCall }>
}

async function keptJobs(): Promise<KeptJobs> {
  return (await import(childEntry('cluster/kept-jobs').href)) as KeptJobs
}

/** Stores a call. @throws ClusterError, ProcessError `ERR_ALREADY_EXISTS`. */
export async function createJob(settings: ClusterSettings, jobId: string, call: KeptCall): Promise<KeptJob> {
  return await (await keptJobs()).createJob(settings, jobId, call)
}

/** Finds a call, and takes it over. @throws ClusterError, ProcessError `ERR_NOT_FOUND`, AuthenticationError. */
export async function claimJob(
  settings: ClusterSettings,
  jobId: string,
): Promise<{ job: KeptJob; call: KeptCall }> {
  return await (await keptJobs()).claimJob(settings, jobId)
}
