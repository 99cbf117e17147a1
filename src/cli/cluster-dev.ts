/** `multiproc cluster dev`: a NATS server and agents on this machine, which end together with the command. */
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { startAgent } from '../cluster/agent.ts'
import { findServer, serverVersion, startLocalServer } from '../cluster/local-server.ts'
import { makeTemporaryDirectory } from '../platform/temporary-directory.ts'
import { interruptSignal } from '../process/interrupt-signal.ts'
import { poolNames } from './cluster-options.ts'
import type { CLUSTER_SYNTAX } from './cluster-syntax.ts'
import type { OptionValues } from './command-syntax.ts'
import { EXIT_OK } from './exit-codes.ts'
import { parseCount } from './parse-options.ts'

const agentsDefault = 2
const stopMsMax = 2000

/** Runs until it is interrupted. @throws ProcessError `ERR_NOT_FOUND` where there is no server, with how to get one. */
export async function runDevCluster(values: OptionValues<typeof CLUSTER_SYNTAX>): Promise<number> {
  const agentCount = parseCount('agents', values.agents) ?? agentsDefault
  const processes = parseCount('processes', values.processes) ?? 1
  const pools = poolNames(values.pool) ?? ['dev']
  const folder = values.folder ?? makeTemporaryDirectory('cluster')
  const interrupted = interruptSignal()
  const authKey = process.env['MULTIPROC_AUTH_KEY'] ?? randomBytes(32).toString('hex')
  try {
    const server = await startLocalServer({ folder, isFolderTemporary: values.folder === undefined })
    try {
      const cluster = { servers: server.url, authKey }
      const agents = await Promise.all(
        Array.from({ length: agentCount }, () => startAgent({ cluster, pools, processes })),
      )
      process.stdout.write(
        [
          `${await serverVersion(findServer()!)}, and for the pool ${pools.join(', ')} agents: ${agentCount}, processes of each: ${processes}`,
          '',
          'For programs, and for more agents:',
          '',
          `export MULTIPROC_CLUSTER=${server.url}`,
          `export MULTIPROC_AUTH_KEY=${authKey}`,
          '',
          `new Pool({ cluster: process.env.MULTIPROC_CLUSTER, name: '${pools[0]}' })`,
          '',
          'Ctrl-C ends it.',
          '',
        ].join('\n'),
      )
      if (!interrupted.aborted) {
        await new Promise<void>(resolve => {
          // The server keeps this program running.
          interrupted.addEventListener('abort', () => resolve(), { once: true })
        })
      }
      await Promise.all(agents.map(agent => agent.stop({ timeout: stopMsMax })))
    } finally {
      await server.stop()
    }
  } finally {
    if (values.folder === undefined) rmSync(folder, { recursive: true, force: true })
  }
  return EXIT_OK
}
