/** Runs rounds of all scenarios until the time or the number of kills is reached, and says what was found. */
import type { StartMethod } from 'multiproc'
import { nativeAddon } from '#src/platform/native-addon.js'
import { needsServer } from '../cluster/started-server.js'
import { randomNumbers } from '../queue/random-numbers.js'
import { Resources } from './resources.js'
import { Round, type Scenario } from './round.js'
import { barriers } from './scenarios/barriers.js'
import { churn } from './scenarios/churn.js'
import { clusters } from './scenarios/clusters.js'
import { conditions } from './scenarios/conditions.js'
import { events } from './scenarios/events.js'
import { locks } from './scenarios/locks.js'
import { managers } from './scenarios/managers.js'
import { maps } from './scenarios/maps.js'
import { memory } from './scenarios/memory.js'
import { pipes } from './scenarios/pipes.js'
import { pools } from './scenarios/pools.js'
import { processes } from './scenarios/processes.js'
import { queues } from './scenarios/queues.js'
import { semaphores } from './scenarios/semaphores.js'

export const SCENARIOS: readonly Scenario[] = [
  locks,
  semaphores,
  conditions,
  events,
  barriers,
  queues,
  pipes,
  pools,
  maps,
  processes,
  memory,
  managers,
  churn,
  // It takes a minute, and needs a NATS server.
  ...(needsServer.skip === false ? [clusters] : []),
]
const METHODS: readonly StartMethod[] = ['spawn', 'thread']
const VIOLATIONS_MAX = 10
const KILLS_PER_ROUND_MAX = 16

export interface SoakOptions {
  minutes: number
  /** 0 for as many as the time allows. */
  kills: number
  seed: number
  /** Of scenarios; empty for all. */
  only: string[]
}

interface Total {
  rounds: number
  kills: number
  operations: number
  violations: number
}

/** Gives the number of violations. */
export async function runSoak({ minutes, kills, seed, only }: SoakOptions): Promise<number> {
  const isNative = nativeAddon() !== undefined
  const chosen = SCENARIOS.filter(({ name, isNativeOnly }) => {
    return (only.length === 0 || only.includes(name)) && (isNative || !isNativeOnly)
  })
  const plan = chosen.flatMap(scenario => {
    return METHODS.map(method => ({ scenario, method, title: `${scenario.name} ${method}` }))
  })
  const totals = new Map<string, Total>()
  const random = randomNumbers(seed)
  const until = performance.now() + minutes * 60_000
  const resources = await Resources.begin()
  const sum = (field: keyof Total): number => [...totals.values()].reduce((sum, each) => sum + each[field], 0)
  const isOver = (): boolean =>
    performance.now() > until || (kills > 0 && sum('kills') >= kills) || sum('violations') >= VIOLATIONS_MAX
  let last = seed
  for (let turn = 0; !isOver(); turn++) {
    // The first round is the one that the seed names, so that it can be had again alone.
    const roundSeed = turn === 0 ? seed : random(2 ** 31)
    last = roundSeed
    const { scenario, method, title } = plan[turn % plan.length]!
    const begin = performance.now()
    const { found, ...done } = await play(scenario, method, roundSeed)
    found.push(...(await resources.leaks()))
    report(title, roundSeed, found)
    const total = totals.get(title) ?? { rounds: 0, kills: 0, operations: 0, violations: 0 }
    total.rounds++
    total.kills += done.kills
    total.operations += done.operations
    total.violations += found.length
    totals.set(title, total)
    const seconds = ((performance.now() - begin) / 1000).toFixed(1)
    console.log(
      `${title.padEnd(18)} ${describe(total)}, seed ${roundSeed}, ${seconds} s; ${resources.summary}`,
    )
  }
  const found = await resources.leaks()
  report('the end', last, found)
  for (const [title, total] of totals) console.log(`${title.padEnd(18)} ${describe(total)}`)
  const violations = sum('violations') + found.length
  console.log(
    `${sum('kills')} kills, ${sum('operations')} operations, ${violations} violations, seed ${seed}`,
  )
  console.log(resources.summary)
  return violations
}

interface Played {
  found: string[]
  kills: number
  operations: number
}

/** Nothing of the round is left when it has returned. */
async function play(scenario: Scenario, method: StartMethod, seed: number): Promise<Played> {
  const round = new Round({ name: scenario.name, seed, method, kills: 1 + (seed % KILLS_PER_ROUND_MAX) })
  const found: string[] = []
  try {
    await scenario.run(round)
  } catch (error) {
    await round.abandon()
    found.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
  const operations = round.operations + round.operationsOfActors
  round.close()
  return { found, kills: round.kills, operations }
}

function report(title: string, seed: number, found: string[]): void {
  for (const text of found) console.error(`VIOLATION in ${title}, seed ${seed}:\n${text}`)
}

function describe({ rounds, kills, operations, violations }: Total): string {
  return `rounds ${rounds}, kills ${kills}, operations ${operations}, violations ${violations}`
}
