/**
 * The streams of shared state on the server: made by whoever comes first. Invariant: each has a bound, and a program with
 * another key is told so before it reads or writes anything.
 */
import type { JetStreamManager } from '@nats-io/jetstream'
import { encode } from '../serialize/codec.ts'
import { abandonedMsMax } from './lease.ts'
import { serverError } from './nats-client.ts'
import { ensure, isNotFound } from './pool-streams.ts'
import { type StateStore, refusal } from './state-store.ts'

type NewStream = Parameters<JetStreamManager['streams']['add']>[0]

const nanosPerMs = 1e6
/** Keys of all objects of one state. */
const keysMax = 1_000_000
/** A queue without `maxSize`. */
const itemsMax = 1_000_000
/** A message that is published again is recognised for this time. */
const duplicateWindowMs = 120_000
/** An item that a program was given and has not taken goes to another one after this time. */
export const takeMsMax = 30_000

/** @throws ClusterError when the server refuses; AuthenticationError. */
export async function openStateStream(store: StateStore): Promise<void> {
  const { names, nats, settings } = store
  const { streams } = nats.manager
  const config = {
    name: names.stream,
    subjects: [names.subjects],
    num_replicas: settings.replicas,
    storage: 'file',
    max_msgs_per_subject: 1,
    max_msgs: keysMax,
    discard: 'new',
    // Replicas that have not caught up would answer.
    allow_direct: false,
    allow_msg_ttl: true,
    subject_delete_marker_ttl: abandonedMsMax * nanosPerMs,
  } satisfies NewStream
  try {
    await store.request(() =>
      ensure(
        () => streams.info(names.stream),
        () => streams.add(config),
      ),
    )
    const own = names.key('own', 'key')
    // Whoever comes first writes something that others can open, if they have the same key.
    if (!(await store.get(own))) {
      await store.put(own, [encode('multiproc')], { sequence: 0 })
      await store.get(own)
    }
  } catch (error) {
    throw refusal(`the stream ${names.stream} of the shared state cannot be opened`, error)
  }
}

/** @returns how many items it takes: of whoever made it first. @throws ClusterError when the server refuses. */
export async function openQueueStream(
  store: StateStore,
  queue: string,
  { maxSize }: { maxSize: number },
): Promise<number> {
  const { names, nats, settings } = store
  const { manager } = nats
  const name = names.queueStream(queue)
  const config = {
    name,
    subjects: [names.queueItems(queue)],
    num_replicas: settings.replicas,
    storage: 'file',
    retention: 'workqueue',
    discard: 'new',
    max_msgs: maxSize === 0 ? itemsMax : maxSize,
    duplicate_window: duplicateWindowMs * nanosPerMs,
  } satisfies NewStream
  const takers = {
    durable_name: 'takers',
    ack_policy: 'explicit',
    ack_wait: takeMsMax * nanosPerMs,
    max_deliver: -1,
    max_ack_pending: -1,
  } as const
  try {
    return await store.request(async () => {
      await ensure(
        () => manager.streams.info(name),
        () => manager.streams.add(config),
      )
      await ensure(
        () => manager.consumers.info(name, takers.durable_name),
        () => manager.consumers.add(name, takers),
      )
      return (await manager.streams.info(name)).config.max_msgs
    })
  } catch (error) {
    if (isNotFound(error)) throw serverError(`the stream ${name} was deleted while it was opened`, error)
    throw refusal(`the stream ${name} of a queue cannot be opened`, error)
  }
}
