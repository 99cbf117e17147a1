// Node children without any library, over fork's own channel, and threads over postMessage(): the references that some
// rows compare with.
import { fork } from 'node:child_process'
import { Worker } from 'node:worker_threads'
import { taskFile } from '../tasks/task-file.mjs'

/** Starts `workers` children. `runOn(worker, task, argument)` runs a task on one of them, `run` on the next in turn. */
export function startBareChildren(workers) {
  const waiting = new Map()
  let lastId = 0
  const children = Array.from({ length: workers }, () => {
    const child = fork(taskFile('bare-child.cjs'), [], { serialization: 'advanced' })
    child.on('message', ([id, result]) => {
      waiting.get(id).resolve(result)
      waiting.delete(id)
    })
    child.on('exit', (code, signal) => {
      for (const { reject } of waiting.values()) reject(new Error(`A bare child ended (${signal ?? code})`))
    })
    return child
  })
  const runOn = (worker, task, argument) =>
    new Promise((resolve, reject) => {
      const id = ++lastId
      waiting.set(id, { resolve, reject })
      children[worker].send([id, task, argument])
    })
  return {
    runOn,
    run: (task, argument) => runOn(lastId % workers, task, argument),
    async close() {
      await Promise.all(
        children.map(
          child =>
            new Promise(resolve => {
              child.on('exit', resolve)
              child.disconnect()
            }),
        ),
      )
    },
  }
}

/** One thread; `run` takes one task at a time. */
function startBareThread() {
  const thread = new Worker(taskFile('bare-thread.cjs'))
  let lastId = 0
  return {
    run: (task, argument) =>
      new Promise(resolve => {
        thread.once('message', ([, result]) => resolve(result))
        thread.postMessage([++lastId, task, argument])
      }),
    close: () => thread.terminate(),
  }
}

export const bareNode = [
  {
    name: 'bare Node child',
    role: 'reference',
    home: 'process',
    onlyRows: ['idle-memory', 'pipe-round-trip', 'pipe-1mib'],
    load: async () => startBareChildren,
  },
  {
    name: 'bare Node thread',
    role: 'reference',
    home: 'thread',
    onlyRows: ['pipe-round-trip'],
    load: async () => startBareThread,
  },
]
