/**
 * What is around the tasks of a chunk in the worker: the stores of `carryAcross()`, then what a tool puts around them
 * (`TaskTool`), then the channel of tasks. Invariant: each task has what its own call has given, whoever else's travels
 * in the same chunk; and where nobody gives anything, a task is called as it is.
 */
import type { Carrier } from '../insights/carrier.ts'
import { isFollowed, taskChannel } from '../insights/channels.ts'
import { type TaskScope, beginTasks, taskTool } from '../insights/task-scopes.ts'
import { decode, prepare } from '../serialize/codec.ts'
import { type CarriedValues, areRegistered, runCarried } from '../process/carried-context.ts'
import { processState } from '../process/process-state.ts'
import type { Task } from './loaded-functions.ts'
import { indexInMap } from './long-task.ts'
import type { Body, ChunkHead } from './protocol.ts'
import { nothing, publishedTask } from './published-task.ts'

/** Neighbouring items of one call. */
interface Neighbours {
  /** Index within the chunk of the first of them, and of the one behind the last. */
  from: number
  until: number
  carrier: Readonly<Carrier>
  stores: { values: CarriedValues } | { failure: unknown } | undefined
  scope: TaskScope | undefined
  hasBegun: boolean
  hasEnded: boolean
}

export class TaskSurroundings {
  readonly #head: ChunkHead
  readonly #neighbours: Neighbours[]
  /** Whether all of it is entered at once. */
  readonly #isOne: boolean
  #at = 0

  /** Whether there is anything around the tasks of a chunk. */
  static areNeeded({ contexts }: ChunkHead): boolean {
    return contexts !== undefined || taskTool() !== undefined || isFollowed(taskChannel())
  }

  /** Loads what the stores need. What cannot be rebuilt is the failure of the tasks that it is for. */
  static async prepare(head: ChunkHead, bodies: readonly Body[]): Promise<TaskSurroundings> {
    const neighbours = neighboursIn(head)
    // The stores come behind the items.
    let next = head.isPacked ? 1 : head.count
    for (const [at, [, , hasStores]] of (head.contexts ?? []).entries()) {
      if (hasStores) neighbours[at]!.stores = await storesIn(bodies[next++]!.bytes)
    }
    return new TaskSurroundings(head, neighbours)
  }

  private constructor(head: ChunkHead, neighbours: Neighbours[]) {
    this.#head = head
    this.#neighbours = neighbours
    const values = valuesOf(neighbours[0]?.stores)
    // A module that comes with the function may register its storages only when it is loaded, within the chunk: then
    // each task is surrounded, when that is done.
    this.#isOne = neighbours.length === 1 && (values === undefined || areRegistered(values))
  }

  /** Whether a tool in this worker tells of the tasks, so that the parent need not be told. */
  get isTold(): boolean {
    return this.#neighbours.some(({ scope }) => scope?.isTold)
  }

  /**
   * Runs all of the chunk. What belongs to one call is entered once, so that the items of a map cost nothing more; else
   * each task is surrounded, by `around()`.
   */
  async run(runChunk: () => Promise<void>): Promise<void> {
    const [only] = this.#neighbours
    const { stores } = only!
    try {
      if (!this.#isOne) await runChunk()
      else
        await runCarried(valuesOf(stores), () => {
          const scope = this.#begin(only!)
          return scope ? scope.run(runChunk) : runChunk()
        })
    } finally {
      this.end()
    }
  }

  /** All tasks have ended. To be called before the last outcome is on its way: the worker may be ended as soon as it is. */
  end(): void {
    this.#end(this.#neighbours[this.#at]!)
  }

  #end(neighbours: Neighbours): void {
    if (neighbours.hasEnded) return
    neighbours.hasEnded = true
    neighbours.scope?.end()
  }

  /** `task` with what is around it, within `run()`. */
  around(inner: Task, runningIndex: () => number): Task {
    const task = publishedTask(inner, this.#head, { runningIndex, carrierAt: at => this.#of(at).carrier })
    if (this.#isOne && !isLost(this.#neighbours[0]!.stores)) return task
    return (...args) => {
      const neighbours = this.#of(runningIndex())
      const { stores } = neighbours
      if (isLost(stores)) throw stores.failure
      return runCarried(valuesOf(stores), () => {
        const scope = this.#begin(neighbours)
        return scope ? scope.run(() => task(...args)) : task(...args)
      })
    }
  }

  /** The task with this index has thrown. */
  threw(index: number, reason: unknown): void {
    const neighbours = this.#neighbours[this.#at]!
    neighbours.scope?.threw(reason)
    if (index + 1 === neighbours.until) this.#end(neighbours)
  }

  #of(index: number): Neighbours {
    while (index >= this.#neighbours[this.#at]!.until) {
      this.#end(this.#neighbours[this.#at]!)
      this.#at++
    }
    return this.#neighbours[this.#at]!
  }

  #begin(neighbours: Neighbours): TaskScope | undefined {
    if (neighbours.hasBegun) return neighbours.scope
    neighbours.hasBegun = true
    const { from, until, carrier } = neighbours
    return (neighbours.scope = beginTasks({
      name: this.#head.name ?? '',
      workerName: processState.name,
      index: indexInMap(this.#head, from),
      count: until - from,
      attempt: this.#head.attempt ?? 1,
      carrier,
    }))
  }
}

type Stores = Neighbours['stores']

/** Whether they could not be rebuilt here. */
function isLost(stores: Stores): stores is { failure: unknown } {
  return stores !== undefined && 'failure' in stores
}

function valuesOf(stores: Stores): CarriedValues | undefined {
  return stores && 'values' in stores ? stores.values : undefined
}

/** One call each, but the items of a map, which belong together. */
function neighboursIn({ contexts, count, first, indexes }: ChunkHead): Neighbours[] {
  const isMap = first !== undefined || indexes !== undefined
  const runs: NonNullable<ChunkHead['contexts']> =
    contexts ?? Array.from({ length: isMap ? 1 : count }, () => [isMap ? count : 1, null, false])
  let from = 0
  return runs.map(([length, carrier]) => ({
    from,
    until: (from += length),
    carrier: carrier ?? nothing,
    stores: undefined,
    scope: undefined,
    hasBegun: false,
    hasEnded: false,
  }))
}

async function storesIn(bytes: Uint8Array): Promise<Stores> {
  try {
    const loading = prepare(bytes)
    if (loading) await loading
    return { values: decode(bytes) as CarriedValues }
  } catch (failure) {
    return { failure }
  }
}
