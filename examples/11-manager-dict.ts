/**
 * Four processes count words into one dict, which lies in the process of a manager. Reading and writing back would lose
 * what others write in between; update() does both there.
 */
import { Manager, Process } from 'multiproc'

await using manager = await Manager()
const counts = await manager.dict<string, number>()
const texts = ['to be or not to be', 'that is the question', 'to die to sleep', 'to sleep perchance to dream']

async function count(text: string): Promise<void> {
  for (const word of text.split(' ')) await counts.update(word, (before = 0) => before + 1)
}

const processes = texts.map(text => new Process({ target: count, args: [text] }))
for (const child of processes) child.start()
for (const child of processes) await child.join()
console.log(
  `to: ${await counts.get('to')}, be: ${await counts.get('be')}, sleep: ${await counts.get('sleep')}`,
)
