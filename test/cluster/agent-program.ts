/** An agent as a program: says "ready" when it serves the pool, and drains at SIGTERM. */
import { startAgent } from 'multiproc/cluster'

/** The first argument of the program, as JSON. */
export interface AgentArguments {
  processes: number
  replicas?: number
  lease?: number
  resources?: Record<string, number>
}

const {
  processes,
  replicas = 1,
  lease = 1000,
  resources = {},
} = JSON.parse(process.argv[2]!) as AgentArguments
const agent = await startAgent({
  cluster: { servers: process.env['CLUSTER_URL']!, lease, replicas },
  pools: process.env['CLUSTER_POOL']!,
  processes,
  resources,
})
process.once('SIGTERM', () => void agent.stop())
console.log('ready')
await agent.ended
