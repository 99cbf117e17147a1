// tinypool: threads, or processes with Node's "json" (its default) or "advanced" serialisation.
import { taskFile } from '../tasks/task-file.mjs'

const load = options => async () => {
  const { Tinypool } = await import('tinypool')
  return workers => {
    const filename = taskFile('tasks.cjs')
    const pool = new Tinypool({ filename, minThreads: workers, maxThreads: workers, ...options })
    return {
      run: (task, argument) => pool.run(argument, { name: task }),
      close: () => pool.destroy(),
    }
  }
}

const variant = (name, home, options) => ({
  name,
  package: 'tinypool',
  role: 'peer',
  home,
  load: load(options),
})

export const tinypool = [
  variant('tinypool thread', 'thread', { runtime: 'worker_threads' }),
  variant('tinypool process (json)', 'process', { runtime: 'child_process' }),
  variant('tinypool process (advanced)', 'process', {
    runtime: 'child_process',
    serialization: 'advanced',
  }),
]
