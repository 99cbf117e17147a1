// jest-worker: threads, or processes (always "advanced" serialisation); the exports of a file become methods.
import { taskFile } from '../tasks/task-file.mjs'
import tasks from '../tasks/tasks.cjs'

const load = enableWorkerThreads => async () => {
  const { Worker } = await import('jest-worker')
  return workers => {
    const exposedMethods = Object.keys(tasks)
    const pool = new Worker(taskFile('tasks.cjs'), {
      numWorkers: workers,
      enableWorkerThreads,
      exposedMethods,
    })
    return {
      run: (task, argument) => pool[task](argument),
      close: () => pool.end(),
    }
  }
}

const variant = (name, home) => ({
  name,
  package: 'jest-worker',
  role: 'peer',
  home,
  load: load(home === 'thread'),
})

export const jestWorker = [variant('jest-worker thread', 'thread'), variant('jest-worker process', 'process')]
