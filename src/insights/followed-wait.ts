/**
 * Waits for locks and queues as tools and traces see them. Invariant: only who has to wait is told of, and while nobody
 * looks on, a wait costs one look more and what need not wait nothing.
 */
import type { TracingChannel } from 'node:diagnostics_channel'
import { monotonicMs } from '../platform/journal.ts'
import { isFollowed } from './channels.ts'
import { currentTrace, ownTrack } from './trace-file.ts'

/** What is said of a wait. */
export interface FollowedWait<Message extends { isBlocking: boolean; error?: unknown }> {
  channel: TracingChannel<unknown, Message>
  message: Message
  /** As a trace calls it: `get from Queue`. */
  name: string
  category: 'lock' | 'queue'
  /** Tells objects of one type apart, and is the same in all processes; where it is known. */
  object: number | undefined
}

/** A wait that is over, on its way to the trace of another process. Times by `monotonicMs()`. */
export interface WaitRecord {
  name: string
  category: 'lock' | 'queue'
  object: number | undefined
  isBlocking: boolean
  startMs: number
  endMs: number
}

let recorder: ((wait: WaitRecord) => void) | undefined

/** In a worker: who is given the waits of this thread from now on, because its parent writes a trace. */
export function setWaitRecorder(record: ((wait: WaitRecord) => void) | undefined): void {
  recorder = record
}

/** Whether anybody looks on. */
export function isWaitFollowed(channel: unknown): boolean {
  return recorder !== undefined || currentTrace() !== undefined || isFollowed(channel)
}

/** Waits, and tells. */
export async function followWait<T, Message extends { isBlocking: boolean; error?: unknown }>(
  followed: FollowedWait<Message>,
  wait: () => Promise<T>,
): Promise<T> {
  const { channel, message, name, category, object } = followed
  const startMs = monotonicMs()
  const endTrace = currentTrace()?.begin({ name, category, args: { object } })
  let waiting: Promise<T>
  channel.start.publish(message)
  try {
    waiting = wait()
  } finally {
    channel.end.publish(message)
  }
  try {
    return await waiting
  } catch (error) {
    message.error = error
    channel.error.publish(message)
    throw error
  } finally {
    endTrace?.()
    recorder?.({ name, category, object, isBlocking: false, startMs, endMs: monotonicMs() })
    channel.asyncStart.publish(message)
    channel.asyncEnd.publish(message)
  }
}

/** Waits, blocking this thread, and tells. */
export function followBlocking<T, Message extends { isBlocking: boolean; error?: unknown }>(
  followed: FollowedWait<Message>,
  wait: () => T,
): T {
  const { channel, message, name, category, object } = followed
  const startMs = monotonicMs()
  channel.start.publish(message)
  try {
    return wait()
  } catch (error) {
    message.error = error
    channel.error.publish(message)
    throw error
  } finally {
    const endMs = monotonicMs()
    // Nothing else happens in a thread that is blocked, so it lies within whatever called it.
    currentTrace()?.span(ownTrack(), { name, category, startMs, endMs, args: { object } })
    recorder?.({ name, category, object, isBlocking: true, startMs, endMs })
    channel.end.publish(message)
  }
}
