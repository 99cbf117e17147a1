/**
 * State that several machines share: tasks write into one dict, and one program at a time holds a lock. Needs a NATS
 * server and an agent, as 16-cluster.ts does.
 */
import { Pool } from 'multiproc'
import { connectState } from 'multiproc/cluster'

const cluster = process.env['MULTIPROC_CLUSTER'] ?? 'nats://127.0.0.1:4222'
const name = process.env['MULTIPROC_POOL'] ?? 'dev'

await using pool = new Pool({ cluster, name })
await using state = await connectState({ cluster, name })

await using held = await state.Lock('lengths').guard({ timeout: 10_000 })
const lengths = state.dict<string, number>('lengths')
await lengths.clear()
await pool.map(
  async (text: string) => {
    // A task connects itself; the key is in the environment of the agent.
    const { connectState: connect } = await import('multiproc/cluster')
    await using shared = await connect({ cluster, name })
    // A task may run twice: to set an entry again does no harm, to add to one would.
    await shared.dict<string, number>('lengths').set(text, text.length)
  },
  ['to be', 'or not', 'to be'],
)
await lengths.update('all', (sum = 0) => sum + 11)
console.log(await lengths.size(), await lengths.get('all')) // 3 11
console.log(held.isLost, held.token > 0) // false true
