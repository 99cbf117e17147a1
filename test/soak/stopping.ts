/**
 * Stops a process wherever it is. Whoever does it may want what that process holds before it goes on to kill it, so a
 * thread that wants nothing lets it go on after some seconds.
 */
import { Worker } from 'node:worker_threads'

const STOPPED_MS_MAX = 3000

const resumer = new Worker(
  `const { parentPort, workerData } = require('node:worker_threads')
   parentPort.on('message', pid => setTimeout(() => {
     // It may have ended.
     try { process.kill(pid, 'SIGCONT') } catch {}
   }, workerData))`,
  { eval: true, workerData: STOPPED_MS_MAX },
)
resumer.unref()

export function stopProcess(pid: number): void {
  resumer.postMessage(pid)
  process.kill(pid, 'SIGSTOP')
}
