// How many small messages pass through a queue from one process to another: one by one, and in batches, which Python
// does not have.
import { timeOf } from './time-of.mjs'

const message = { t: 1, id: 7, s: 'hello world', v: [1, 2.5, 3] }

/** A child that puts `total` messages, `batch` at a time, whenever it is told to; and how to take them. */
async function measureQueue({ library, size }, batch) {
  const { Process, Queue } = await import('multiproc')
  const orders = new Queue()
  const queue = new Queue()
  const child = new Process({
    context: library.home === 'thread' ? 'thread' : 'spawn',
    daemon: true,
    args: [orders, queue, message, batch],
    target: async (orders, queue, message, batch) => {
      const messages = Array.from({ length: batch }, () => message)
      for await (const total of orders) {
        if (batch === 1) for (let i = 0; i < total; i += 1) await queue.put(message)
        else for (let i = 0; i < total; i += batch) await queue.putMany(messages)
      }
    },
  })
  child.start()
  const run = async total => {
    await orders.put(total)
    if (batch === 1) for (let i = 0; i < total; i += 1) await queue.get()
    else for (let i = 0; i < total;) i += (await queue.getMany()).length
  }
  await run(size.messages)
  const samples = []
  for (let i = 0; i < size.repeats; i += 1) {
    const { ms } = await timeOf(() => run(size.messages))
    samples.push((size.messages / ms) * 1000)
  }
  return { samples }
}

const common = {
  unit: 'messages/s',
  better: 'higher',
  size: { messages: 51_200, repeats: 3 },
  quickSize: { messages: 640, repeats: 1 },
  onlyLibraries: ['multiproc process', 'multiproc thread', 'Python fork'],
}

export const queueMessages = {
  ...common,
  id: 'queue-messages',
  title: 'small messages through a Queue, one by one',
  how: 'One child puts objects of four fields, the program gets them, each with a call and an await of its own.',
  targets: [{ subject: 'multiproc process', reference: { bestPeerOf: 'python' }, factor: 2 }],
  measure: job => measureQueue(job, 1),
}

export const queueBatches = {
  ...common,
  id: 'queue-batches',
  title: 'small messages through a Queue, 64 at a time',
  how: 'The same with putMany() and getMany(). Python has no such calls and puts one by one.',
  targets: [{ subject: 'multiproc process', reference: { bestPeerOf: 'python' }, factor: 2 }],
  measure: job => measureQueue(job, 64),
}
