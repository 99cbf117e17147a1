/** Reads what a stream has of some subjects, by a consumer that lives no longer than that. */
import type { Nats } from './nats-client.ts'

/** How many are asked for at once: many short ones, and few of some MiB, because the server cuts off who has 64 MB to read. */
const batchOf = { min: 8, max: 256, bytes: 16 << 20 }
const expiresMs = 2000
/** The server deletes the consumer of a program that was killed meanwhile after this time. */
const consumerMsMax = 30_000

/**
 * Everything from a sequence on that is there when it begins, or comes while it reads.
 *
 * @throws when the server goes away.
 */
export async function* readAll(
  { manager, publisher }: Pick<Nats, 'manager' | 'publisher'>,
  stream: string,
  filter: string,
  fromSequence = 1,
): AsyncGenerator<{ subject: string; data: Uint8Array }> {
  const { name } = await manager.consumers.add(stream, {
    filter_subject: filter,
    deliver_policy: 'by_start_sequence',
    opt_start_seq: fromSequence,
    ack_policy: 'none',
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: consumerMsMax * 1e6,
  })
  try {
    const consumer = await publisher.consumers.get(stream, name)
    let batch = batchOf.min
    let left = (await consumer.info()).num_pending
    while (left > 0) {
      let read = 0
      let bytes = 0
      for await (const message of await consumer.fetch({
        max_messages: Math.min(left, batch),
        expires: expiresMs,
      })) {
        read++
        bytes += message.data.length
        yield { subject: message.subject, data: message.data }
      }
      batch = Math.floor((batchOf.bytes * read) / (bytes + 1))
      batch = Math.max(batchOf.min, Math.min(batchOf.max, batch))
      left = read === 0 ? (await consumer.info()).num_pending : left - read
    }
  } finally {
    manager.consumers.delete(stream, name).catch(() => {})
  }
}
