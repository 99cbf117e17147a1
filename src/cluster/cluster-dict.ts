/** ClusterDict: keys and values that programs on several machines share. Each key is one of the stream of the state. */
import { ProcessError, SerializeError, invalidArgument } from '../errors.ts'
import { assertForMachines } from '../pool/protocol.ts'
import { decodeItem, encodeItem } from '../queue/item-codec.ts'
import { encode } from '../serialize/codec.ts'
import { ClusterObject } from './cluster-object.ts'
import { type StateContent, type StateStore, refusal } from './state-store.ts'

/** What can be a key of a {@link ClusterDict}. */
export type ClusterKey = string | number | bigint | boolean | null

const readBatch = 256
const readExpiresMs = 2000
const betweenAttemptsMs = 150
/** The server deletes the consumer of a program that was killed after this time. */
const consumerMsMax = 30_000

/** A value that can be sent to another machine, as bytes. @throws SerializeError. */
export function encodeForCluster(value: unknown, rootName: string): Uint8Array {
  const bytes = encodeItem(value, rootName)
  assertForMachines(bytes, rootName)
  return bytes
}

/**
 * A dict of several machines, with the methods of a manager's dict. Each call is one or two messages to the server, and
 * values are copies. `update(key, change)` replaces a value while nobody else changes it.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.SyncManager.dict
 *
 * @example
 * ```ts
 * import { connectState } from 'multiproc/cluster'
 *
 * await using state = await connectState({ cluster: 'nats://queue.example:4222', name: 'render' })
 * const counts = state.dict<string, number>('counts')
 * await counts.update('frames', (count = 0) => count + 1)
 * console.log(await counts.get('frames'))
 * ```
 */
export class ClusterDict<K extends ClusterKey = string, V = unknown>
  extends ClusterObject
  implements AsyncIterable<[K, V]>
{
  /** @internal Made by {@link ClusterState.dict}. */
  // oxlint-disable-next-line no-useless-constructor -- for its comment
  constructor(store: StateStore, name: string) {
    super(store, name)
  }

  /** The value of a key, or `missing` (undefined). */
  get(key: K): Promise<V | undefined>
  get(key: K, missing: V): Promise<V>
  async get(key: K, missing?: V): Promise<V | undefined> {
    const { subject } = this.#place(key)
    const content = (await this.store.get(subject))?.content
    return content ? await valueIn<V>(content) : missing
  }

  /**
   * @throws TypeError for a key that is no primitive value; SerializeError for a value that cannot be sent; ProcessError
   * `ERR_LIMIT` for one that is too long for the server.
   */
  async set(key: K, value: V): Promise<void> {
    const { subject, keyBytes } = this.#place(key)
    await this.store.put(subject, [keyBytes, encodeForCluster(value, 'value')])
  }

  async has(key: K): Promise<boolean> {
    return (await this.store.get(this.#place(key).subject)) !== undefined
  }

  /** Whether the key was there. */
  async delete(key: K): Promise<boolean> {
    return (await this.#take(key)) !== undefined
  }

  /** Deletes all keys that are there now. */
  async clear(): Promise<void> {
    const { names, nats } = this.store
    const filter = names.partsOf('dict', this.name)
    await this.store.request(() => nats.manager.streams.purge(names.stream, { filter }))
  }

  async size(): Promise<number> {
    return (await this.store.subjects(this.store.names.partsOf('dict', this.name))).length
  }

  /** All keys, in the order in which they were written last. */
  async keys(): Promise<K[]> {
    return (await this.#contents()).map(content => keyIn(content) as K)
  }

  async values(): Promise<V[]> {
    return await Promise.all((await this.#contents()).map(content => valueIn<V>(content)))
  }

  /** The keys with their values. They are read one after the other, while others write. */
  async entries(): Promise<[K, V][]> {
    const contents = await this.#contents()
    return await Promise.all(
      contents.map(async (content): Promise<[K, V]> => [keyIn(content) as K, await valueIn<V>(content)]),
    )
  }

  /** As `entries()`: Python's name. */
  items(): Promise<[K, V][]> {
    return this.entries()
  }

  /**
   * Takes a key out, and gives its value: to one of those who do that at the same time. (Two can have it when the server
   * is killed while it answers.)
   *
   * @throws ProcessError `ERR_NOT_FOUND` for a key that is not there, unless a second argument says what to give then.
   */
  async pop(key: K, ...missing: [V?]): Promise<V> {
    const content = await this.#take(key)
    if (content) return await valueIn<V>(content)
    if (missing.length > 0) return missing[0] as V
    throw new ProcessError(
      'ERR_NOT_FOUND',
      'The dict does not have the key that pop() was given\nTo fix: ask with has() before, or give a default',
    )
  }

  /** The value of a key, which is given this one if it is not there. */
  async setDefault(key: K, value: V): Promise<V> {
    const { subject, keyBytes } = this.#place(key)
    const valueBytes = encodeForCluster(value, 'value')
    const content = await this.store.change(subject, found => ({
      frames: found ? undefined : [keyBytes, valueBytes],
      result: found,
    }))
    return content ? await valueIn<V>(content) : value
  }

  /** Sets all entries of a Map or an object, one after the other. */
  update(
    entries: Iterable<readonly [K, V]> | (K extends string ? Readonly<Record<K, V>> : never),
  ): Promise<void>
  /**
   * Replaces a value by what `change` makes of it, while nobody else changes it. `change` runs here, again when somebody
   * was faster; a key that is not there has the value undefined.
   *
   * @returns the new value
   * @throws what `change` throws; TypeError when it is async. Nothing has changed then.
   */
  update(key: K, change: (value: V | undefined) => V): Promise<V>
  async update(first: unknown, change?: (value: V | undefined) => V): Promise<V | void> {
    if (change !== undefined) return await this.#change(first as K, change)
    const isIterable = typeof (first as Iterable<unknown> | null)?.[Symbol.iterator] === 'function'
    const entries = isIterable
      ? [...(first as Iterable<readonly [K, V]>)]
      : (Object.entries(first as object) as [K, V][])
    for (const [key] of entries) this.#place(key)
    for (const [key, value] of entries) await this.set(key, value)
  }

  /** A Map with the same entries. */
  async copy(): Promise<Map<K, V>> {
    return new Map(await this.entries())
  }

  /** The entries as they are at the first step. */
  async *[Symbol.asyncIterator](): AsyncGenerator<[K, V], void, undefined> {
    yield* await this.entries()
  }

  async #change(key: K, change: (value: V | undefined) => V): Promise<V> {
    const { subject, keyBytes } = this.#place(key)
    return await this.store.change(subject, async content => {
      const result = change(content && (await valueIn<V>(content)))
      if (typeof (result as { then?: unknown } | null)?.then === 'function') {
        throw invalidArgument(
          TypeError,
          'Cannot update with an async function: others would come in between\nTo fix: pass a function that returns the new value, or hold a Lock of the state meanwhile',
        )
      }
      return { frames: [keyBytes, encodeForCluster(result, 'value')], result }
    })
  }

  /** Takes a key out, and gives what was there. */
  async #take(key: K): Promise<StateContent | undefined> {
    const { subject } = this.#place(key)
    for (;;) {
      const entry = await this.store.get(subject)
      if (!entry?.content) return undefined
      if (await this.store.deleteAt(entry.sequence)) return entry.content
    }
  }

  #place(key: K): { subject: string; keyBytes: Uint8Array } {
    if (
      (typeof key === 'object' && key !== null) ||
      ['function', 'symbol', 'undefined'].includes(typeof key)
    ) {
      throw invalidArgument(
        TypeError,
        `Cannot use ${key === undefined ? 'undefined' : `a value of the type ${typeof key}`} as a key of a dict of several machines\nTo fix: use a string, a number or another primitive value, such as JSON.stringify(it)`,
      )
    }
    // As in a Map, there is one zero.
    const keyBytes = encode(key === 0 ? 0 : key)
    return { keyBytes, subject: this.store.names.dictKey(this.name, keyBytes, this.store.settings.key) }
  }

  /** The last value of each key. A server that is killed meanwhile forgets where one was: it is read from the first. */
  async #contents(): Promise<StateContent[]> {
    const { waits, settings } = this.store
    const beganMs = performance.now()
    for (;;) {
      try {
        return await this.#readAll()
      } catch (error) {
        const isLate = performance.now() - beganMs > settings.connectionMsMax
        if (isLate || error instanceof ProcessError)
          throw refusal(`the dict "${this.name}" cannot be read`, error)
        await waits.pause(betweenAttemptsMs)
      }
    }
  }

  async #readAll(): Promise<StateContent[]> {
    const { nats, names } = this.store
    const consumer = await this.store.request(() =>
      nats.manager.consumers.add(names.stream, {
        filter_subject: names.partsOf('dict', this.name),
        deliver_policy: 'last_per_subject',
        ack_policy: 'none',
        mem_storage: true,
        num_replicas: 1,
        inactive_threshold: consumerMsMax * 1e6,
      }),
    )
    try {
      const reader = await nats.publisher.consumers.get(names.stream, consumer.name)
      const found = new Map<string, StateContent>()
      let left = consumer.num_pending
      while (left > 0) {
        let read = 0
        const batch = await reader.fetch({ max_messages: Math.min(left, readBatch), expires: readExpiresMs })
        for await (const { subject, data } of batch) {
          read++
          // A key that is changed meanwhile may come twice, the newer value last.
          found.delete(subject)
          found.set(subject, this.store.openValue(subject, data))
        }
        this.store.waits.assertOpen()
        left = read === 0 ? (await reader.info()).num_pending : left - read
      }
      return [...found.values()]
    } finally {
      nats.manager.consumers.delete(names.stream, consumer.name).catch(() => {})
    }
  }
}

function keyIn({ frames: [key] }: StateContent): ClusterKey {
  return decodeItem(partOf(key)) as ClusterKey
}

async function valueIn<V>({ frames: [, value] }: StateContent): Promise<V> {
  return (await decodeItem(partOf(value))) as V
}

function partOf(frame: Uint8Array | undefined): Uint8Array {
  if (frame) return frame
  throw new SerializeError('A value of the shared state has fewer frames than it should have', {
    code: 'ERR_NOT_DESERIALIZABLE',
  })
}
