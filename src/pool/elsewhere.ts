/**
 * Workers on other machines, as their pool sees them: one runner stands for all of them, and takes many chunks. What
 * carries the chunks there registers nothing here: it is loaded when a pool asks for it. Invariant: a link gives each
 * chunk back exactly once, by messages of protocol.ts, or ends with an error.
 */
import { childEntry } from '../platform/child-entry.ts'
import type { ChunkTarget } from './chunk-policy.ts'
import type { ClusterSettings } from './cluster-option.ts'
import type { Body, FromWorker, ToWorker } from './protocol.ts'

/** What a pool knows of the machines that work for it. It changes as machines come and go. */
export interface Elsewhere {
  readonly settings: ClusterSettings
  readonly target: ChunkTarget
  /** How many processes they have together, at least 1. */
  processes: number
  /** How many chunks may be there, with those that wait. */
  chunksMax: number
}

/** How a link speaks to its pool. */
export interface LinkEvents {
  /** A message of a worker. */
  emit(head: FromWorker, bodies: Body[]): void
  /** There are other machines than a moment ago. */
  noteMachines(facts: { processes: number; chunksMax: number }): void
  /** Whether nobody waits for the link any more. */
  readonly isOver: boolean
  /** Nothing more comes. The error is why nothing can be run there any more. */
  ended(error?: Error): void
}

/** What carries chunks to other machines, and their outcomes back. */
export interface Link {
  /** A message for a worker. */
  take(head: ToWorker, bodies: Body[]): void
  /** How much has been taken and has not left this process. */
  readonly bufferedBytes: number
  /** Ends now: what is there is called off. `isHard`: without telling anybody. */
  kill(options: { isHard: boolean }): void
}

/** A message over a network costs more than one to a child, and should be worth it. */
const target: ChunkTarget = { chunkMs: 60, chunkBytes: 256 * 1024 }

/** Before anything is known of the machines. */
const chunksAtFirst = 4

export function newElsewhere(settings: ClusterSettings): Elsewhere {
  return { settings, target, processes: 1, chunksMax: chunksAtFirst }
}

/** Loads what carries chunks. Only a pool with the option `cluster` does. */
export async function openLink(settings: ClusterSettings, events: LinkEvents): Promise<Link> {
  const module: unknown = await import(childEntry('cluster/open-link').href)
  return (module as { openLink: typeof openLink }).openLink(settings, events)
}
