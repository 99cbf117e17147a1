// An agent of multiproc, as "multiproc worker" is one.
import { startAgent } from 'multiproc/cluster'

const { cluster, pool, processes } = JSON.parse(process.argv[2])
const agent = await startAgent({ cluster, pools: pool, processes })
console.log('ready')
await agent.ended
