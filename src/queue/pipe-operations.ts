/** What the home of a pipe does for a thread of another process that has an end of it. */
import type { Operations } from '../broker/shareable.ts'
import { ownBytes } from './held-items.ts'
import { type PipeCore, type ReceiveLimit, endsOfFile } from './pipe-core.ts'
import { acceptKnown, offering } from './queue-operations.ts'

/** In the place of a message: there will be none any more. */
export interface NoMore {
  isEnd: true
}

async function orNoMore<T>(received: Promise<T>): Promise<T | NoMore> {
  try {
    const message = await received
    return message instanceof Uint8Array ? (ownBytes(message) as T & Uint8Array) : message
  } catch (error) {
    if (endsOfFile.has(error as object)) return { isEnd: true }
    throw error
  }
}

/** The operations of an end. */
export function pipeOperations<T extends object>(coreOf: (connection: T) => PipeCore): Operations<T> {
  return {
    send: (connection, [bytes, timeout], signal) =>
      coreOf(connection).send(() => bytes as Uint8Array, { timeout: timeout as number | undefined, signal }),
    receive: (connection, [timeout, limit], signal) =>
      orNoMore(
        coreOf(connection).receive(
          { timeout: timeout as number | undefined, signal },
          limit as ReceiveLimit | undefined,
        ),
      ),
    receiveKnown: (connection, [timeout, approved], signal) =>
      orNoMore(
        offering(() =>
          coreOf(connection).receiveIf(
            { timeout: timeout as number | undefined, signal },
            acceptKnown(approved as Uint8Array | undefined),
          ),
        ),
      ),
    poll: (connection, [timeout], signal) =>
      coreOf(connection).poll({ timeout: timeout as number | undefined, signal }),
    isReady: connection => coreOf(connection).isReady(),
    close: connection => coreOf(connection).close(),
  }
}
