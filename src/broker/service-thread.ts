/** The threads of the broker's own, the home's and the client's: how each is started, with a port to it. */
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads'
import { assertEntryExists, childEntry } from '../platform/child-entry.ts'
import { childEnvironment } from '../platform/child-flags.ts'
import { startWorker } from '../platform/start-worker.ts'

/**
 * @param kind - its main file is `<kind>-main`
 * @param startFor - what the thread finds in `workerData`, with its end of the port
 * @throws ProcessError `ERR_START_FAILED`.
 */
export function startServiceThread(
  kind: 'bridge' | 'broker',
  startFor: (port: MessagePort) => { port: MessagePort },
): { worker: Worker; port: MessagePort } {
  const { port1, port2 } = new MessageChannel()
  const entry = childEntry(`broker/${kind}-main`)
  assertEntryExists(entry)
  const worker = startWorker(entry, {
    name: `multiproc ${kind}`,
    workerData: startFor(port2),
    transferList: [port2],
    env: childEnvironment(),
  })
  if (worker instanceof Error) throw worker
  return { worker, port: port1 }
}
