/**
 * Workers on other machines, as their pool sees them: one runner stands for all of them, and takes many chunks. What
 * carries the chunks there registers nothing here: it is loaded when a pool asks for it. Invariant: a link gives each
 * chunk back exactly once, by messages of protocol.ts, or ends with an error.
 */
import { childEntry } from '../platform/child-entry.ts'
import type { ChunkTarget } from './chunk-policy.ts'
import type { ClusterSettings } from './cluster-option.ts'
import { chunksPerEpoch } from './kept-call.ts'
import type { Body, FromWorker, ToWorker } from './protocol.ts'
import { type Offer, type Requirements, slotsOf } from './requirements.ts'

/** A machine that works for a pool. */
export interface Machine extends Offer {
  readonly processes: number
}

/** What a pool knows of the machines that work for it. It changes as machines come and go. */
export interface Elsewhere {
  readonly settings: ClusterSettings
  readonly target: ChunkTarget
  /** Chunks of its session have higher numbers. */
  readonly chunksBefore: number
  /** How many processes they have together, at least 1. */
  processes: number
  /** Another list whenever something of it changes. */
  machines: readonly Machine[]
  /** So many chunks may be there for each task that runs at once. */
  chunksPerProcess: number
}

/** What all machines together can do of one kind of work. */
export interface Capacity {
  /** How many tasks at once, at least 1. */
  processes: number
  /** How many chunks may be there, with those that wait. */
  chunksMax: number
}

/** How a link speaks to its pool. */
export interface LinkEvents {
  /** A message of a worker. */
  emit(head: FromWorker, bodies: Body[]): void
  /** There are other machines than a moment ago. */
  noteMachines(machines: readonly Machine[]): void
  /** So many chunks may be on their way for each process: more of short ones. */
  noteLookAhead(chunksPerProcess: number): void
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

/** Also before anything is known of the machines. */
const chunksMin = 4
/** However long chunks take: one that runs, and one where an agent can fetch it. */
export const chunksPerProcessMin = 2

export function newElsewhere(settings: ClusterSettings): Elsewhere {
  const chunksBefore = (settings.kept?.epoch ?? 0) * chunksPerEpoch
  return {
    settings,
    target,
    chunksBefore,
    processes: 1,
    machines: [],
    chunksPerProcess: chunksPerProcessMin,
  }
}

/** How many tasks with these requirements the machines can run at once, 0 if none of them can. */
export function slotsAmong(machines: readonly Machine[], requires: Requirements | undefined): number {
  let slots = 0
  for (const machine of machines)
    slots += Math.min(machine.processes, requires === undefined ? Infinity : slotsOf(machine, requires))
  return slots
}

const slotsOfKinds = new WeakMap<readonly Machine[], Map<string, number>>()

/** How much of the work with these requirements may be there now. */
export function capacityFor(
  { machines, chunksPerProcess }: Elsewhere,
  requires: Requirements | undefined,
): Capacity {
  const key = requires?.key ?? ''
  let known = slotsOfKinds.get(machines)
  if (!known) slotsOfKinds.set(machines, (known = new Map()))
  let slots = known.get(key)
  if (slots === undefined) known.set(key, (slots = slotsAmong(machines, requires)))
  return { processes: Math.max(1, slots), chunksMax: Math.max(chunksMin, slots * chunksPerProcess) }
}

/** Loads what carries chunks. Only a pool with the option `cluster` does. */
export async function openLink(settings: ClusterSettings, events: LinkEvents): Promise<Link> {
  const module: unknown = await import(childEntry('cluster/open-link').href)
  return (module as { openLink: typeof openLink }).openLink(settings, events)
}
