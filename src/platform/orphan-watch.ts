/**
 * What the native addon's `endWithParent()` does, by portable means: a child that computes, and so does not notice that
 * its parent was killed, is killed too. A thread looks, since it runs whatever the main thread does. It costs the child
 * some milliseconds of its start and some MiB.
 */
import { startWatchThread } from './watch-thread.ts'

const LOOK_MS = 500

// Windows gives an orphan no new parent.
const watch = `
  const { workerData: { parentPid, firstParent, graceMs, lookMs } } = require('node:worker_threads')
  const hasParent = () => {
    if (process.platform !== 'win32') return process.ppid === firstParent
    try {
      return process.kill(parentPid, 0)
    } catch (error) {
      return error.code !== 'ESRCH'
    }
  }
  let orphanedMs = 0
  setInterval(() => {
    orphanedMs = hasParent() ? 0 : orphanedMs + lookMs
    if (orphanedMs > graceMs) process.kill(process.pid, 'SIGKILL')
  }, lookMs)
`

/** Kills this process when its parent has been gone for `graceMs`, the time in which it can notice by itself. */
export function watchForOrphan(parentPid: number, graceMs: number): void {
  // By `ppid`, and not by the pid that we were told: there may be a wrapper in between.
  const thread = startWatchThread(watch, {
    parentPid,
    firstParent: process.ppid,
    graceMs,
    lookMs: LOOK_MS,
  })
  // Where there is no room for a thread, an orphan ends when it comes back to its event loop.
  thread.on('error', () => {})
}
