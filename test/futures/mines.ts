/** Values that throw, or end their process, on the way to or from a worker. Workers import this module with `layMine`. */
import { registerReducer } from 'multiproc'

export type Moment = 'encode' | 'decode'
export type Deed = 'throw' | 'exit' | 'crash'

export class Mine {
  readonly moment: Moment
  readonly deed: Deed

  constructor(moment: Moment, deed: Deed) {
    this.moment = moment
    this.deed = deed
  }
}

function goOff({ moment, deed }: Pick<Mine, 'moment' | 'deed'>): void {
  if (deed === 'throw') throw new RangeError(`gone off at ${moment}`)
  if (deed === 'exit') process.exit(3)
  process.kill(process.pid, 'SIGSEGV')
  // The signal arrives in a moment.
  for (;;);
}

registerReducer<Mine>({
  type: Mine,
  name: 'test.Mine',
  encode: mine => {
    if (mine.moment === 'encode') goOff(mine)
    return [mine.moment, mine.deed]
  },
  decode: payload => {
    const [moment, deed] = payload as [Moment, Deed]
    if (moment === 'decode') goOff({ moment, deed })
    return new Mine(moment, deed)
  },
})

/** Run in a worker: its result is a mine, when its argument was none. */
export function layMine(moment: Moment, deed: Deed): Mine {
  return new Mine(moment, deed)
}

export function typeOf(value: unknown): string {
  return value instanceof Mine ? 'mine' : typeof value
}
