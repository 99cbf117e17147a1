// piscina: threads only; a task is a function named by file and export.
import { taskFile } from '../tasks/task-file.mjs'

async function load() {
  const { Piscina } = await import('piscina')
  return workers => {
    const pool = new Piscina({ filename: taskFile('tasks.cjs'), minThreads: workers, maxThreads: workers })
    return {
      run: (task, argument) => pool.run(argument, { name: task }),
      close: () => pool.destroy(),
    }
  }
}

export const piscina = [{ name: 'piscina', package: 'piscina', role: 'peer', home: 'thread', load }]
