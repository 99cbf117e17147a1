/** Process: each start has one end, with the right code, however it comes; a family goes when its head is killed. */
import { existsSync } from 'node:fs'
import { Process, type StartMethod } from 'multiproc'
import { isRunning } from '../../leak-check.js'
import { spin, Violation } from '../desk.js'
import type { Round, Scenario } from '../round.js'

const AT_ONCE = 4
const FAMILIES = 2
const GRANDCHILDREN = 2

type Way = 'returns' | 'exits' | 'throws' | 'computes' | 'waits' | 'prints'
const WAYS: Way[] = ['returns', 'exits', 'throws', 'computes', 'waits', 'prints']

export async function end(way: Way, number: number): Promise<number> {
  if (way === 'exits') process.exit(number % 256)
  if (way === 'throws') throw new RangeError(`the error ${number}`)
  if (way === 'computes') for (;;) spin(1000)
  // Sleep: until it is killed.
  if (way === 'waits') await new Promise(resolve => setTimeout(resolve, 10_000_000))
  if (way === 'prints') console.log('x'.repeat(100_000))
  return number
}

/** Starts a child, kills it at a random moment if it would not end otherwise, and looks at its end. */
async function live(round: Round): Promise<void> {
  const way = WAYS[round.random(WAYS.length)]!
  const number = round.random(1000)
  const isEndless = way === 'computes' || way === 'waits'
  const isKilled = isEndless || round.random(3) === 0
  const child = new Process({
    target: end,
    args: [way, number],
    context: round.method,
    daemon: true,
    stdio: { stdout: 'ignore', stderr: 'ignore' },
  })
  child.start()
  const result = child.result().then(
    value => ({ value, error: undefined }),
    (error: { code?: string; name: string }) => ({ value: undefined, error }),
  )
  if (isKilled) {
    await round.pause(round.random(200))
    child.kill()
    round.kills++
  }
  const code = await round.within(`a child that ${way} to be joined`, child.join())
  const { value, error } = await round.within(`the result of a child that ${way}`, result)
  round.operations++
  if (isKilled && code === -9) {
    if (error === undefined && value !== number) round.fail(`A killed child gave ${value}`)
    return
  }
  const expected = { returns: 0, prints: 0, exits: number % 256, throws: 1, computes: -9, waits: -9 }[way]
  if (code !== expected) round.fail(`A child that ${way} ended with ${code}, not ${expected}`)
  const isRight =
    way === 'throws'
      ? error?.name === 'RangeError'
      : way === 'exits'
        ? error?.code === 'ERR_WORKER_DIED'
        : value === number
  if (!isRight) round.fail(`A child that ${way} gave ${value} and ${error?.name}`)
}

/** The head of a family: starts children, tells their pids, and waits. */
export async function headFamily(method: StartMethod): Promise<void> {
  const children = Array.from({ length: GRANDCHILDREN }, (_, index) => {
    const child = new Process({
      target: end,
      args: [index === 0 ? 'waits' : 'computes', 0],
      context: 'spawn',
    })
    child.start()
    return child.pid
  })
  const thread = new Process({ target: end, args: ['waits', 0], context: 'thread' })
  if (method === 'spawn') thread.start()
  console.log(JSON.stringify(children))
  // Sleep: until it is killed.
  await new Promise(resolve => setTimeout(resolve, 10_000_000))
}

/** Kills the head of a family; all of it goes. */
async function killFamily(round: Round): Promise<void> {
  const head = new Process({
    target: headFamily,
    args: ['spawn'],
    context: 'spawn',
    daemon: true,
    stdio: { stdout: 'pipe' },
  })
  head.start()
  let told = ''
  head.stdout!.on('data', (text: Buffer) => (told += text.toString()))
  if (round.random(4) > 0) await round.until('a family to begin', () => told.endsWith('\n'))
  else await round.pause(round.random(250))
  head.kill()
  round.kills++
  await round.within('the head of a family to be joined', head.join())
  const pids = told.endsWith('\n') ? (JSON.parse(told) as number[]) : []
  // Those that compute are killed 2 s after their parent; without the addon they would not notice.
  await round.until(`the grandchildren ${pids.join(', ')} to end`, () => pids.every(pid => !isRunning(pid)))
  round.kills += pids.length
  round.operations++
}

export const processes: Scenario = {
  name: 'processes',
  isNativeOnly: false,
  async run(round: Round) {
    const lives = async (): Promise<void> => {
      while (round.kills < round.plannedKills) await live(round)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, lives))
    if (round.method === 'thread') return
    if (!existsSync('/proc/self/stat')) throw new Violation('Families are followed through /proc')
    for (let family = 0; family < FAMILIES; family++) await killFamily(round)
  },
}
