/**
 * The protocol of src/cluster in stories that follow from a seed, in time that is not real: every item has one outcome,
 * whoever is killed or cut off, and nothing is left. `node scripts/simulate-cluster.mjs` plays thousands of them.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { randomNumbers, seed } from '../queue/random-numbers.js'
import { simulate, storyOf } from './simulation/simulation.js'

const STORIES = 15
const MOMENTS = 40
const random = randomNumbers(seed)

describe('a simulated cluster', () => {
  test(`gives each item one outcome in ${STORIES} stories`, async () => {
    for (let played = 0; played < STORIES; played++) {
      const number = random(2 ** 31)
      try {
        await simulate(storyOf(number))
      } catch (error) {
        throw new Error(`The story ${number}: node scripts/simulate-cluster.mjs --only ${number}`, {
          cause: error,
        })
      }
    }
  })

  for (const [fault, cutMs, what] of [
    ['server killed', undefined, ''],
    ['server killed and forgetful', undefined, ''],
    ['agent killed', undefined, ''],
    ['program cut for long', undefined, ''],
    // It is known to be away for less than connectionTimeout, although nothing is taken for longer.
    ['program cut for long', 65_000, ', a minute'],
  ] as const) {
    test(`gives each item one outcome at whatever moment this happens: ${fault}${what}`, async () => {
      const story = {
        seed: random(2 ** 31),
        items: 30,
        agents: 2,
        processes: 1,
        programs: 1,
        chunkSize: 2,
        itemMs: 3,
        padding: 5000,
        codeBytes: 5000,
        cancelEvery: 0,
        latencyMs: 0.5,
        jitterMs: 0.5,
        leaseMs: 1000,
        inlineBytesMax: 4096,
        faultEveryMs: 0,
        workerDeathEvery: 0,
        isPoisoned: false,
        isGentle: false,
      }
      // From the opening of streams to the end.
      const { virtualMs } = await simulate(story)
      for (let moment = 0; moment < MOMENTS; moment++) {
        const atMs = (virtualMs * moment) / MOMENTS
        await simulate({
          ...story,
          planned: [{ fault, atMs, ...(cutMs === undefined ? {} : { cutMs }) }],
        }).catch((error: unknown) => {
          throw new Error(`After ${atMs} ms of the story ${story.seed}`, { cause: error })
        })
      }
    })
  }

  // A program looked for a chunk that seemed lost while its results were still being read again, and sent it once more.
  test('runs nothing twice because the network of the program was cut', async () => {
    const outcome = await simulate({
      seed: 28,
      items: 1997,
      agents: 3,
      processes: 2,
      programs: 1,
      chunkSize: 6,
      itemMs: 1,
      padding: 3000,
      codeBytes: 10_000,
      cancelEvery: 0,
      latencyMs: 0.1,
      jitterMs: 200,
      leaseMs: 1000,
      inlineBytesMax: 4096,
      faultEveryMs: 2000,
      workerDeathEvery: 0,
      isPoisoned: false,
      isGentle: true,
    })
    assert.ok(outcome.faults['program cut for long']! > 0)
  })

  test('tells the same story for the same seed', async () => {
    const number = random(2 ** 31)
    const [one, other] = [await simulate(storyOf(number)), await simulate(storyOf(number))]
    assert.deepEqual(one, other)
  })

  test('with 100 agents, of which many are killed or cut off, does 40,000 items', async () => {
    const outcome = await simulate({
      ...storyOf(random(2 ** 31)),
      items: 40_000,
      agents: 100,
      processes: 4,
      programs: 1,
      chunkSize: 100,
      itemMs: 10,
      padding: 0,
      leaseMs: 3000,
      latencyMs: 0.2,
      jitterMs: 1,
      faultEveryMs: 1000,
      isGentle: false,
      isPoisoned: false,
    })
    assert.ok(outcome.openMax > 100)
  })
})
