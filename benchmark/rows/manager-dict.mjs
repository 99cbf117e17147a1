// How many times a second processes set and get an entry of a manager's dict, each call awaited before the next.
import { timeOf } from './time-of.mjs'

/** Some clients, each a process that does half as many rounds of set and get as it is told operations, when it is told. */
async function measureManager({ library, size }, clients) {
  const { Manager, Process, Queue } = await import('multiproc')
  const context = library.home === 'thread' ? 'thread' : 'spawn'
  const manager = await Manager({ context })
  const dict = await manager.dict({ key: 0 })
  const finished = new Queue()
  const orders = Array.from({ length: clients }, () => new Queue())
  for (const own of orders) {
    const client = new Process({
      context,
      daemon: true,
      args: [dict, own, finished],
      target: async (dict, own, finished) => {
        for await (const rounds of own) {
          for (let round = 0; round < rounds; round += 1) {
            await dict.set('key', round)
            await dict.get('key')
          }
          await finished.put(true)
        }
      },
    })
    client.start()
  }
  const run = async () => {
    for (const own of orders) await own.put(size.operations / 2)
    for (let count = 0; count < clients; count += 1) await finished.get()
  }
  await run()
  const samples = []
  for (let i = 0; i < size.repeats; i += 1) {
    const { ms } = await timeOf(run)
    samples.push(((clients * size.operations) / ms) * 1000)
  }
  await manager.shutdown()
  return { samples }
}

const row = (clients, operations, factor) => ({
  id: `manager-${clients}`,
  title: `set and get of a manager's dict, ${clients === 1 ? 'one client' : `${clients} clients at once`}`,
  unit: 'calls/s',
  better: 'higher',
  how: 'Each client is a process that sets an entry and gets it, again and again, and waits for each call.',
  size: { operations, repeats: 3 },
  quickSize: { operations: 200, repeats: 1 },
  onlyLibraries: ['multiproc process', 'multiproc thread', 'Python fork'],
  targets:
    factor === undefined
      ? []
      : [{ subject: 'multiproc process', reference: { bestPeerOf: 'python' }, factor }],
  measure: job => measureManager(job, clients),
})

export const manager1 = row(1, 40_000, 1)
export const manager4 = row(4, 20_000, 2)
export const manager8 = row(8, 10_000)
