/** Pipe: two connected ends. Each lets go of what both are made of on its own. */
import { assertKnownOptions } from '../platform/known-options.ts'
import { Channel } from './channel.ts'
import { type PipeConnection, openEnd } from './pipe-connection.ts'
import { PipeEnd } from './pipe-end.ts'

/** So much may be in each direction before senders wait. As much as a pipe of Linux. */
const RING_BYTES = 64 * 1024

/**
 * A pair of connected ends, as Python's `multiprocessing.Pipe`: what one sends the other receives.
 *
 * @param options - `duplex: false` makes a pipe of one direction: the first end only receives, the second only sends.
 * Default: both do both.
 * @throws ProcessError `ERR_LIMIT` without memory.
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Pipe
 *
 * @example
 * ```ts
 * import { Pipe, Process } from 'multiproc'
 *
 * const [here, there] = Pipe<string>()
 * const child = new Process({ target: async () => there.send(`hello ${await there.recv()}`) })
 * child.start()
 * await here.send('bob')
 * console.log(await here.recv()) // hello bob
 * await child.join()
 * ```
 */
export function Pipe<First = unknown, Second = First>(
  options: { duplex?: boolean | undefined } = {},
): [PipeConnection<First, Second>, PipeConnection<Second, First>] {
  assertKnownOptions('Pipe', options, ['duplex'])
  const made: Channel[] = []
  const create = (): Channel => {
    const channel = Channel.create({ isGrowing: false, ringBytes: RING_BYTES })
    made.push(channel)
    return channel
  }
  const again = ({ handle }: Channel): Channel => {
    const channel = Channel.attach(handle)
    made.push(channel)
    return channel
  }
  try {
    const first = options.duplex === false ? undefined : create()
    const second = create()
    // Each object holds both channels, and lets go of them on its own.
    const others = [first && again(first), again(second)] as const
    const [one, two] = PipeEnd.createBoth()
    return [
      openEnd({ own: one, channels: [first, second] }, 0),
      openEnd({ own: two, channels: [...others] }, 1),
    ] as unknown as [PipeConnection<First, Second>, PipeConnection<Second, First>]
  } catch (error) {
    for (const channel of made) channel.release()
    throw error
  }
}
