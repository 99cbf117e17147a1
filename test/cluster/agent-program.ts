/** An agent as a program: says "ready" when it serves the pool, and drains at SIGTERM. */
import { startAgent } from 'multiproc/cluster'

const agent = await startAgent({
  cluster: {
    servers: process.env['CLUSTER_URL']!,
    lease: Number(process.argv[4] ?? 1000),
    replicas: Number(process.argv[3]),
  },
  pools: process.env['CLUSTER_POOL']!,
  processes: Number(process.argv[2]),
  // `gpu=1`, if it has anything.
  resources: Object.fromEntries(process.argv.slice(3).map(text => text.split('='))) as Record<string, string>,
})
process.once('SIGTERM', () => void agent.stop())
console.log('ready')
await agent.ended
