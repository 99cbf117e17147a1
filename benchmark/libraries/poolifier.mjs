// poolifier: fixed pools of threads, or of cluster processes with "json" (its default) or "advanced" serialisation.
import { taskFile } from '../tasks/task-file.mjs'

const load = (home, options) => async () => {
  const { FixedClusterPool, FixedThreadPool } = await import('poolifier')
  return workers => {
    const pool =
      home === 'thread'
        ? new FixedThreadPool(workers, taskFile('poolifier-thread.cjs'), options)
        : new FixedClusterPool(workers, taskFile('poolifier-cluster.cjs'), options)
    return {
      run: (task, argument) => pool.execute(argument, task),
      map: (task, items) => pool.mapExecute(items, task),
      close: () => pool.destroy(),
    }
  }
}

const variant = (name, home, options) => ({
  name,
  package: 'poolifier',
  role: 'peer',
  home,
  // Its map is a message an item: a million of them in flight at once would measure the garbage collector.
  mapsItemByItem: true,
  load: load(home, options),
})

export const poolifier = [
  variant('poolifier thread', 'thread', {}),
  variant('poolifier cluster (json)', 'process', {}),
  variant('poolifier cluster (advanced)', 'process', { settings: { serialization: 'advanced' } }),
]
