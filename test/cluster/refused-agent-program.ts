/** Starts an agent whose health port is taken, and says with which error that ended. Nothing else ends the program. */
import { startAgent } from 'multiproc/cluster'

try {
  await startAgent({
    cluster: { servers: process.env['CLUSTER_URL']!, lease: 1000 },
    pools: process.env['CLUSTER_POOL']!,
    processes: 1,
    healthPort: Number(process.argv[2]),
  })
} catch (error) {
  const { name, code, message } = error as Error & { code: string }
  console.log(JSON.stringify({ name, code, message }))
}
