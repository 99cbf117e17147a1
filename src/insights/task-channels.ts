/**
 * The channels of `node:diagnostics_channel` by which tools (APM agents, loggers) follow calls into workers. Invariant:
 * while nobody has subscribed, a call costs one look and a chunk another.
 */
import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'

/**
 * What travels with a call into its tasks: short texts, such as a `traceparent`. A tool puts them there at the start of
 * the call, and finds them at the start of each task.
 */
export type Carrier = Record<string, string>

/** The message of `tracing:multiproc:call:*`, in the process that calls. The same object from start to end. */
export interface CallMessage {
  /** The name of the pool. */
  pool: string
  /** The name of the function. */
  name: string
  /** To be filled by a subscriber of `start`. */
  carrier: Carrier
  /** Items with an outcome, and those of them that failed; at the end. */
  done?: number
  failed?: number
}

/** The message of `tracing:multiproc:task:*`, in the worker. The same object from start to end. */
export interface TaskMessage {
  /** The name of the function. */
  name: string
  workerName: string
  /** Index of the item; `undefined` for `apply`. */
  index: number | undefined
  attempt: number
  /** What the call was given. */
  carrier: Readonly<Carrier>
  result?: unknown
  error?: unknown
}

const entriesMax = 32
const charactersMax = 8192

let calls: TracingChannel<unknown, CallMessage> | undefined
let tasks: TracingChannel<unknown, TaskMessage> | undefined

export function callChannel(): TracingChannel<unknown, CallMessage> {
  return (calls ??= tracingChannel('multiproc:call'))
}

export function taskChannel(): TracingChannel<unknown, TaskMessage> {
  return (tasks ??= tracingChannel('multiproc:task'))
}

/** Whether anybody listens. (The types of Node.js 20 lack the property.) */
export function isFollowed(channel: unknown): boolean {
  return (channel as { hasSubscribers: boolean }).hasSubscribers
}

/** What of a carrier travels: texts, 32 at most and together 8 KiB. `undefined` for nothing. */
export function sendableCarrier(carrier: Carrier): Carrier | undefined {
  const entries: [string, string][] = []
  let characters = 0
  for (const [key, value] of Object.entries(carrier as Record<string, unknown>)) {
    if (typeof value !== 'string') continue
    characters += key.length + value.length
    if (entries.length === entriesMax || characters > charactersMax) break
    entries.push([key, value])
  }
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}
