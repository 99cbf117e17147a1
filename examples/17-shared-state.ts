/**
 * State that several machines share: tasks count in one dict, and one of them at a time holds a lock. Needs a NATS server
 * and an agent, as 16-cluster.ts does.
 */
import { Pool } from 'multiproc'
import { connectState } from 'multiproc/cluster'

const cluster = process.env['MULTIPROC_CLUSTER'] ?? 'nats://127.0.0.1:4222'
const name = process.env['MULTIPROC_POOL'] ?? 'dev'

await using pool = new Pool({ cluster, name })
await using state = await connectState({ cluster, name })

const words = state.dict<string, number>('words')
await words.clear()
await pool.map(
  async (text: string) => {
    // A task connects itself; the key is in the environment of the agent.
    const { connectState: connect } = await import('multiproc/cluster')
    await using shared = await connect({ cluster, name })
    const counts = shared.dict<string, number>('words')
    for (const word of text.split(' ')) await counts.update(word, (count = 0) => count + 1)
  },
  ['to be or not to be', 'that is to say'],
)
console.log(await words.get('to'), await words.get('be')) // 3 2

await using held = await state.Lock('report').guard({ timeout: 10_000 })
console.log(held.isLost, held.token > 0) // false true
