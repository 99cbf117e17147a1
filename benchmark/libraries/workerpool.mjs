// workerpool: threads, or processes with Node's "json" (its default) or "advanced" serialisation.
import { taskFile } from '../tasks/task-file.mjs'

const load = options => async () => {
  const { default: workerpool } = await import('workerpool')
  return workers => {
    const pool = workerpool.pool(taskFile('workerpool-worker.cjs'), { maxWorkers: workers, ...options })
    return {
      run: (task, argument) => pool.exec(task, [argument]),
      close: () => pool.terminate(true),
    }
  }
}

const variant = (name, home, options) => ({
  name,
  package: 'workerpool',
  role: 'peer',
  home,
  load: load(options),
})

export const workerpool = [
  variant('workerpool thread', 'thread', { workerType: 'thread' }),
  variant('workerpool process (json)', 'process', { workerType: 'process' }),
  variant('workerpool process (advanced)', 'process', {
    workerType: 'process',
    forkOpts: { serialization: 'advanced' },
  }),
]
