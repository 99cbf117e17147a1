/**
 * Signs of life of a worker process: a thread of it counts in a file that has no name, and the pool looks whether it
 * still does. The thread runs whatever the worker computes, so it stops only when the whole process does (SIGSTOP, a
 * frozen container, a machine that only swaps). Invariant: a pool that stood still itself blames nobody.
 */
import { once } from 'node:events'
import { closeSync, readSync } from 'node:fs'
import { childEntry } from '../platform/child-entry.ts'
import { TIMER_MS_MAX } from '../platform/long-timer.ts'
import { openNameless } from '../platform/nameless-file.ts'
import { startWatchThread } from '../platform/watch-thread.ts'

/** What the thread of the worker is given. */
export interface HeartbeatPlace {
  fd: number
  intervalMs: number
}

/** So many beats must be missing. */
const beatsPerLimit = 4

/** The pool's side. */
export class Heartbeat {
  /** The descriptor that the worker inherits. */
  readonly fd: number
  readonly intervalMs: number
  readonly #limitMs: number
  #beats = 0
  #silentMs = 0
  #lookedAtMs = performance.now()
  #isClosed = false

  private constructor(fd: number, limitMs: number) {
    this.fd = fd
    this.#limitMs = limitMs
    this.intervalMs = Math.min(TIMER_MS_MAX, Math.max(1, Math.floor(limitMs / beatsPerLimit)))
  }

  /** Released in `close()`. `undefined` where no file can be made. */
  static open(limitMs: number): Heartbeat | undefined {
    const fd = openNameless('heartbeat')
    return fd === undefined ? undefined : new Heartbeat(fd, limitMs)
  }

  /**
   * Whether there was no sign of life for too long. It counts the time between two looks as one interval at most: when
   * this process was stopped as well, or its event loop was blocked, the worker had no chance to show anything.
   */
  hasStopped(): boolean {
    if (this.#isClosed) return false
    const now = performance.now()
    const sinceLookMs = now - this.#lookedAtMs
    if (sinceLookMs < this.intervalMs) return false
    this.#lookedAtMs = now
    const beats = this.#read()
    if (beats !== this.#beats || beats === 0) {
      // Before the first beat it is still starting, which is not judged here.
      this.#beats = beats
      this.#silentMs = 0
      return false
    }
    this.#silentMs += Math.min(sinceLookMs, 2 * this.intervalMs)
    return this.#silentMs > this.#limitMs
  }

  #read(): number {
    const bytes = Buffer.alloc(4)
    return readSync(this.fd, bytes, 0, 4, 0) === 4 ? bytes.readUInt32LE(0) : 0
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    closeSync(this.fd)
  }
}

/**
 * The worker's side: starts the thread that counts, and waits for its first beat, since a worker that has never shown
 * any is taken for one that starts. The thread never keeps the worker alive, and ends with it.
 */
export async function startHeartbeat(place: HeartbeatPlace): Promise<void> {
  const thread = startWatchThread(childEntry('pool/heartbeat-main'), place)
  const beaten = once(thread, 'message')
  // Without it the worker would be taken for frozen; this way its pool is told what happened.
  thread.on('error', error => {
    throw error
  })
  // Its first beat is waited for.
  thread.ref()
  await beaten
  thread.unref()
}
