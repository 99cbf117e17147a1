/** What scripts/simulate-cluster.mjs starts: plays stories, or measures what more agents cost. */
import { measureGrowth } from './growth.js'
import { simulate, storyOf } from './simulation.js'

const WRONG_MAX = 10

/** How many of them went wrong. */
async function play({ seeds, first }: { seeds: number; first: number }): Promise<number> {
  const totals: Record<string, number> = {}
  let [played, events, virtualMs, wrong] = [0, 0, 0, 0]
  const beganMs = performance.now()
  for (let seed = first; seed < first + seeds && wrong < WRONG_MAX; seed++) {
    played++
    try {
      const outcome = await simulate(storyOf(seed))
      events += outcome.events
      virtualMs += outcome.virtualMs
      for (const [fault, count] of Object.entries(outcome.faults))
        totals[fault] = (totals[fault] ?? 0) + count
    } catch (error) {
      wrong++
      console.error(`WRONG: seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`)
    }
  }
  const seconds = (performance.now() - beganMs) / 1000
  const hours = virtualMs / 3600_000
  console.log(
    `${played} stories from seed ${first}: ${events} events of ${hours.toFixed(1)} hours in ${seconds.toFixed(1)} s, ${wrong} wrong`,
  )
  console.log(totals)
  return wrong
}

const options = JSON.parse(process.argv[2]!) as {
  isGrowth: boolean
  items: number
  seeds: number
  first: number
}
if (options.isGrowth) await measureGrowth(options.items)
else process.exitCode = (await play(options)) === 0 ? 0 : 1
