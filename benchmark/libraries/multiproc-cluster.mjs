// multiproc with the option "cluster": one agent for each machine, with processes of its own.
import { findNats, startNats, versionOf } from '../cluster/servers.mjs'
import { startWorker } from '../cluster/worker-programs.mjs'
import { clusterRowIds } from '../rows/cluster-row-ids.mjs'
import tasks from '../tasks/tasks.cjs'

const pool = 'benchmark'
const authKey = 'a key of thirty-two bytes or more'

async function load() {
  findNats()
  const { Pool } = await import('multiproc')
  return async ({ agents, processes, leaseMs }) => {
    const server = await startNats()
    const cluster = {
      servers: `nats://127.0.0.1:${server.port}`,
      authKey,
      ...(leaseMs === undefined ? {} : { lease: leaseMs }),
    }
    const addAgent = () => startWorker('agent-main.mjs', { cluster, pool, processes })
    const workers = []
    for (let n = 0; n < agents; n += 1) workers.push(await addAgent())
    const program = new Pool({ cluster, name: pool })
    return {
      server,
      workers,
      addAgent,
      run: (task, argument, { retries = 0 } = {}) => program.apply(tasks[task], [argument], { retries }),
      map: (task, items, { chunkSize } = {}) => program.map(tasks[task], items, { chunkSize }),
      each: async (task, items, { onResult }) => {
        const results = []
        for await (const value of program.imapUnordered(tasks[task], items, { chunkSize: 1 })) {
          results.push(value)
          onResult()
        }
        return results
      },
    }
  }
}

export const multiprocCluster = [
  {
    name: 'multiproc cluster',
    package: 'multiproc',
    role: 'subject',
    home: 'cluster',
    onlyRows: clusterRowIds,
    server: () => ['nats-server', versionOf(findNats())],
    load,
  },
]
