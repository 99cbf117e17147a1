// The thread of a worker that shows that its process is alive: it counts in the file that the pool looks at.
import { writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import type { HeartbeatPlace } from './heartbeat.ts'

const { fd, intervalMs } = workerData as HeartbeatPlace
const beats = new Uint32Array(1)
const beat = (): void => {
  beats[0]!++
  writeSync(fd, beats, 0, 4, 0)
}
beat()
parentPort!.postMessage('alive')
setInterval(beat, intervalMs)
