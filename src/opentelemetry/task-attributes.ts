/** The attributes of a task, the same whether the parent tells of it or the worker itself. */
import type { Attributes } from '@opentelemetry/api'
import type { TasksBegun } from '../insights/task-scopes.ts'

export function taskAttributes({
  name,
  workerName,
  index,
  count,
  attempt,
}: Omit<TasksBegun, 'carrier'>): Attributes {
  return {
    'code.function.name': name,
    'multiproc.worker.name': workerName,
    'multiproc.attempt': attempt,
    ...(index === undefined ? {} : { 'multiproc.item.first': index, 'multiproc.items': count }),
  }
}
