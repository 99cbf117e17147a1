/** What the home of a queue does for a thread of another process: everything about items but encoding and decoding. */
import type { Operations } from '../broker/shareable.ts'
import { dependsOnReceiver } from '../serialize/codec.ts'
import { ownBytes } from './held-items.ts'
import type { QueueCore } from './queue-core.ts'
import type { Offer } from './remote-queue-core.ts'

/** Thrown by `accept`: the item stays, and its reader is asked whether it can decode it. */
class NotApproved {
  readonly offer: Uint8Array

  constructor(offer: Uint8Array) {
    this.offer = offer
  }
}

/** Lets an item pass that any receiver can decode, or that the reader has approved. */
export function acceptKnown(approved: Uint8Array | undefined): (bytes: Uint8Array) => void {
  return bytes => {
    if (!dependsOnReceiver(bytes)) return
    if (approved === undefined || Buffer.compare(bytes, approved) !== 0) throw new NotApproved(bytes.slice())
  }
}

/** Gives what `take` gives, or the item that its reader has to approve first. */
export async function offering<T>(take: () => Promise<T>): Promise<T | Offer> {
  try {
    return await take()
  } catch (error) {
    if (error instanceof NotApproved) return { offer: error.offer }
    throw error
  }
}

/** The operations of a class of queues. */
export function queueOperations<T extends object>(coreOf: (queue: T) => QueueCore): Operations<T> {
  return {
    put: (queue, [items, timeout], signal) =>
      coreOf(queue).putBytes(queue, items as Uint8Array[], {
        timeout: timeout as number | undefined,
        signal,
      }),
    take: async (queue, [max, timeout], signal) => {
      const options = { timeout: timeout as number | undefined, signal }
      return (await coreOf(queue).takeBytes(queue, max as number, options)).map(ownBytes)
    },
    takeKnown: (queue, [timeout, approved], signal) =>
      offering(async () => {
        const options = { timeout: timeout as number | undefined, signal }
        const accept = acceptKnown(approved as Uint8Array | undefined)
        return (await coreOf(queue).takeBytes(queue, 1, options, accept)).map(ownBytes)
      }),
    isReady: queue => coreOf(queue).isReady(),
    whenReady: (queue, _args, signal) => coreOf(queue).whenReady(queue, signal),
    size: queue => coreOf(queue).size,
    isShutDown: queue => coreOf(queue).isShutDown,
    shutDown: (queue, [isImmediate]) => coreOf(queue).shutDown(isImmediate === true),
    close: queue => coreOf(queue).close(queue),
    taskDone: queue => coreOf(queue).taskDone(),
    join: (queue, [timeout], signal) =>
      coreOf(queue).join(queue, { timeout: timeout as number | undefined, signal }),
  }
}
