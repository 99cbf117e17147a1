// How many small messages pass through a Pipe in one direction, with the calls that block.
import { timeOf } from './time-of.mjs'

export const pipeOneWay = {
  id: 'pipe-one-way',
  title: 'small messages through a Pipe, one way',
  unit: 'messages/s',
  better: 'higher',
  how: 'One child sends objects of four fields as fast as the pipe takes them, the program receives them: sendSync() and recvSync().',
  // Both engines go on compiling for about half a million messages.
  size: { messages: 100_000, warmUps: 6, repeats: 5 },
  quickSize: { messages: 1_000, warmUps: 1, repeats: 1 },
  onlyLibraries: ['multiproc process', 'Python fork'],
  targets: [{ subject: 'multiproc process', reference: { bestPeerOf: 'python' }, factor: 5 }],
  async measure({ size }) {
    const { Pipe, Process } = await import('multiproc')
    const [here, there] = Pipe()
    const child = new Process({
      daemon: true,
      args: [there, { t: 1, id: 7, s: 'hello world', v: [1, 2.5, 3] }],
      target: (there, message) => {
        for (;;) {
          const count = there.recvSync()
          for (let i = 0; i < count; i += 1) there.sendSync(message)
        }
      },
    })
    child.start()
    const run = () => {
      here.sendSync(size.messages)
      for (let i = 0; i < size.messages; i += 1) here.recvSync()
    }
    for (let i = 0; i < size.warmUps; i += 1) run()
    const samples = []
    for (let repeat = 0; repeat < size.repeats; repeat += 1) {
      const { ms } = await timeOf(run)
      samples.push((size.messages / ms) * 1000)
    }
    return { samples }
  },
}
