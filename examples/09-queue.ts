/**
 * Two processes take texts from a queue and put their lengths into another. Each text goes to one of them; the program
 * stops them with shutdown() once nothing more is to be done.
 */
import { JoinableQueue, Process, Queue } from 'multiproc'

const texts = new JoinableQueue<string>({ maxSize: 10 })
const lengths = new Queue<[text: string, length: number]>()

async function measure(): Promise<void> {
  for await (const text of texts) {
    await lengths.put([text, text.length])
    texts.taskDone()
  }
}

const processes = [1, 2].map(() => new Process({ target: measure }))
for (const child of processes) child.start()

await texts.putMany(['one', 'three', 'eleven', 'seventeen'])
await texts.join()
texts.shutdown()
for (const child of processes) await child.join()

const found = await lengths.getMany()
for (const [text, length] of found.sort(([, a], [, b]) => a - b)) console.log(text, length)
