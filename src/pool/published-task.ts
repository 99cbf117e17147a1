/** Tells those who follow tasks of their begin and end, in the worker, and runs each in the context that they give it. */
import type { Carrier } from '../insights/carrier.ts'
import { type TaskMessage, isFollowed, taskChannel } from '../insights/channels.ts'
import { processState } from '../process/process-state.ts'
import type { Task } from './loaded-functions.ts'
import { indexInMap } from './long-task.ts'
import type { ChunkHead } from './protocol.ts'
import { isThenable } from './result-kinds.ts'

export const nothing: Readonly<Carrier> = Object.freeze({})

/** `task`, or what calls it and tells; `runningIndex` is the item of the chunk that runs. */
export function publishedTask(
  task: Task,
  head: ChunkHead,
  {
    runningIndex,
    carrierAt,
  }: { runningIndex: () => number; carrierAt: (index: number) => Readonly<Carrier> },
): Task {
  const channel = taskChannel()
  if (!isFollowed(channel)) return task
  return (...args) => {
    const at = runningIndex()
    const message: TaskMessage = {
      name: task.name,
      workerName: processState.name,
      index: indexInMap(head, at),
      attempt: head.attempt ?? 1,
      carrier: carrierAt(at),
    }
    const settled = async (result: PromiseLike<unknown>): Promise<unknown> => {
      try {
        return (message.result = await result)
      } catch (error) {
        message.error = error
        channel.error.publish(message)
        throw error
      } finally {
        channel.asyncStart.publish(message)
        channel.asyncEnd.publish(message)
      }
    }
    // Stores that were bound to the start (AsyncLocalStorage) have their value in the task and behind its awaits.
    return channel.start.runStores(message, () => {
      try {
        const result = task(...args)
        if (isThenable(result)) return settled(result)
        message.result = result
        return result
      } catch (error) {
        message.error = error
        channel.error.publish(message)
        throw error
      } finally {
        channel.end.publish(message)
      }
    })
  }
}
