/**
 * What a child of `Process` does: it receives its work, runs it, says what came of it and lets its event loop drain.
 * Every way out leaves an exit code and, on failure, the reason on standard error (see "Exit codes" in README.md).
 */
import { inspect } from 'node:util'
import { isMainThread } from 'node:worker_threads'
import { MaybeEncodingError } from '../errors.ts'
import { writeOrIgnore } from '../platform/standard-streams.ts'
import { decode, encode, encodeThrown, prepare } from '../serialize/codec.ts'
import { AttachmentList, releaseAttachments } from '../transport/attachments.ts'
import type { Connection } from '../transport/connection.ts'
import { bootstrapChild } from './child-bootstrap.ts'
import { whileImporting } from './import-guard.ts'
import { OUTCOME_TAGS, READY_TAG } from './process-life.ts'
import { workOfChild, type ProcessWork } from './process.ts'
import { processState } from './process-state.ts'

/** As Node.js ends when a top-level await can never settle. */
const UNSETTLED_EXIT_CODE = 13

export async function runChild(): Promise<void> {
  const { connection } = await bootstrapChild()
  const { bytes, attachments } = await firstFrame(connection)
  // From here on the child lives as long as its own work does. The connection still ends it with its parent.
  connection.unref()
  let isSettled = false
  let tellsReady = false
  const fail = (thrown: unknown): void => {
    isSettled = true
    sendThrown(connection, thrown)
    printFailure(thrown)
  }
  // Node is about to end this process for an error that nobody caught; it prints processes' stacks itself.
  process.on('uncaughtExceptionMonitor', error => {
    if (process.listenerCount('uncaughtException') > 0) return
    if (!isSettled) sendThrown(connection, error)
    isSettled = true
    if (isMainThread) writeOrIgnore(process.stderr, `Process ${processState.name}:\n`)
    else printFailure(error)
    connection.flush()
  })
  process.on('beforeExit', () => {
    if (isSettled) return
    fail(
      new Error(
        'The target has not returned, and nothing is left that could make it: it waits for a ' +
          'promise that never settles\n' +
          'To fix: let the target return, or keep open what it waits for',
      ),
    )
    process.exit(UNSETTLED_EXIT_CODE)
  })
  try {
    const run = await whileImporting(async () => {
      await prepare(bytes)
      const work = decode(bytes, { attachments }) as ProcessWork
      tellsReady = work.context?.tellsReady === true
      return workOfChild(work)
    })
    if (tellsReady) sendReady(connection)
    const result = await run()
    isSettled = true
    sendResult(connection, result)
  } catch (error) {
    fail(error)
    process.exit(1)
  }
}

function firstFrame(connection: Connection): Promise<{ bytes: Uint8Array; attachments: readonly unknown[] }> {
  return new Promise(resolve => {
    connection.onMessage = (bytes, attachments) => {
      connection.onMessage = undefined
      resolve({ bytes, attachments })
    }
  })
}

// The parent may close the connection at any time; then nobody wants to know, and this process is ending.
function sendOutcome(
  connection: Connection,
  tag: number,
  bytes: Uint8Array,
  attachments: readonly unknown[] = [],
): void {
  try {
    connection.send(Uint8Array.of(tag))
    connection.send(bytes, attachments)
    connection.flush()
  } catch {
    // Closed in the meantime.
  }
}

function sendReady(connection: Connection): void {
  try {
    connection.send(Uint8Array.of(READY_TAG))
    connection.flush()
  } catch {
    // As above.
  }
}

function sendResult(connection: Connection, result: unknown): void {
  const { canAttach } = connection
  const list = new AttachmentList()
  const { attach, beside } = list
  let bytes: Uint8Array
  let attachments: unknown[] | undefined
  try {
    bytes = encode(result, { rootName: 'result', beside, ...(canAttach ? { attach } : {}) })
    attachments = list.finish(bytes, { canAttach, isReadOften: false })
  } catch (error) {
    // Whether anybody wants the result is not known here: a target may return a server that it started. So this is
    // a matter of result() alone, and no failure of the process.
    sendThrown(connection, unsendableResult(result, error))
    return
  }
  sendOutcome(connection, OUTCOME_TAGS.returned, bytes, attachments)
  releaseAttachments(attachments)
}

function unsendableResult(result: unknown, cause: unknown): MaybeEncodingError {
  const value = inspect(result, { depth: 1, maxStringLength: 100, maxArrayLength: 5 }).slice(0, 200)
  return new MaybeEncodingError(
    `Cannot send the result of process "${processState.name}" to its parent: ${(cause as Error).message}`,
    { value, cause, path: (cause as { path?: readonly string[] }).path ?? [] },
  )
}

function sendThrown(connection: Connection, thrown: unknown): void {
  sendOutcome(connection, OUTCOME_TAGS.threw, encodeThrown(thrown))
}

function printFailure(thrown: unknown): void {
  writeOrIgnore(process.stderr, `Process ${processState.name}:\n${inspect(thrown)}\n`)
}
