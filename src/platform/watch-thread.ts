/** A small thread of our own that runs beside the program's code, whatever that does: without its flags, modules and streams. */
import { Worker } from 'node:worker_threads'

/** `entry` is an entry file, or the text of one in CommonJS, which starts sooner. The thread keeps nothing alive. */
export function startWatchThread(entry: URL | string, workerData: object): Worker {
  const thread = new Worker(entry, {
    eval: typeof entry === 'string',
    workerData,
    // Without the program's loader hooks and preloaded modules.
    execArgv: [],
    env: {},
    // Node would connect them to the program's streams, and an error of these would then end the program.
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 2 },
  })
  thread.unref()
  return thread
}
