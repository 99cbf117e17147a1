/** What an agent gives out is never more than it has, whoever takes and gives back in whatever order. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { AgentResources, type TakenResources } from '#src/cluster/agent-resources.js'
import { type TaskRequirements, checkOffer, checkRequires } from '#src/pool/requirements.js'

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)

function taking(
  resources: AgentResources,
  needed: TaskRequirements['resources'],
): TakenResources | undefined {
  let now: TakenResources | undefined
  const wait = resources.take(checkRequires({ resources: needed })!, taken => (now = taken))
  if (!now) wait.cancel()
  return now
}

describe('the resources of an agent', () => {
  test('are told by number, and given out again when they were given back', () => {
    const resources = new AgentResources(checkOffer({ resources: { gpu: 2, memory: '64G' } }))
    const first = taking(resources, { gpu: 1, memory: '40G' })!
    assert.deepEqual(first.shares, {
      gpu: { amount: 1, indexes: [0] },
      memory: { amount: 40 * 2 ** 30, indexes: [] },
    })
    assert.equal(taking(resources, { gpu: 1, memory: '40G' }), undefined)
    assert.deepEqual(taking(resources, { gpu: 1 })!.shares, { gpu: { amount: 1, indexes: [1] } })
    assert.equal(taking(resources, { gpu: 1 }), undefined)
    first.release()
    first.release()
    assert.deepEqual(taking(resources, { gpu: 1 })!.shares['gpu']!.indexes, [0])
    assert.equal(taking(resources, { gpu: 1 }), undefined)
  })

  test('parts of one share it, and leave the others whole', () => {
    const resources = new AgentResources(checkOffer({ resources: { gpu: 2 } }))
    const third = { gpu: 1 / 3 }
    const indexes = [third, third, third].map(needed => taking(resources, needed)!.shares['gpu']!.indexes)
    assert.deepEqual(indexes, [[0], [0], [0]])
    assert.deepEqual(taking(resources, { gpu: 1 })!.shares['gpu']!.indexes, [1])
    assert.equal(taking(resources, third), undefined)
  })

  test('who waits is served in order, and whoever wants less does not overtake', () => {
    const resources = new AgentResources(checkOffer({ resources: { gpu: 2 } }))
    const [one, two] = [checkRequires({ resources: { gpu: 1 } })!, checkRequires({ resources: { gpu: 2 } })!]
    const first = taking(resources, { gpu: 1 })!
    const order: string[] = []
    const note = (name: string) => (): void => void order.push(name)
    const wait = resources.take(two, note('both'))
    resources.take(one, note('one'))
    assert.equal(resources.room(one), 0)
    assert.deepEqual(order, [])
    wait.cancel()
    assert.deepEqual(order, ['one'])
    const late = resources.take(two, note('both'))
    first.release()
    // One of the two is free, and both were asked for.
    assert.equal(order.length, 1)
    late.cancel()
  })

  test(`never give out more than there is, and room() says what take() does (SEED=${seed})`, () => {
    const amount = fc.constantFrom(0.25, 1 / 3, 0.5, 0.9, 1, 2, 3)
    const step = fc.record({ isTaking: fc.boolean(), amount, at: fc.nat({ max: 20 }) })
    fc.assert(
      fc.property(fc.nat({ max: 4 }), fc.array(step, { maxLength: 60 }), (total, steps) => {
        const resources = new AgentResources(checkOffer({ resources: { gpu: total } }))
        const held: TakenResources[] = []
        for (const { isTaking, amount: needed, at } of steps) {
          if (!isTaking) {
            held.splice(at, 1)[0]?.release()
            continue
          }
          const room = resources.room(checkRequires({ resources: { gpu: needed } })!)
          const taken = taking(resources, { gpu: needed })
          assert.equal(taken !== undefined, room > 0)
          if (taken) held.push(taken)
          const used = Array.from({ length: total }, () => 0)
          for (const { shares } of held) {
            const { amount: own, indexes } = shares['gpu']!
            for (const index of indexes) used[index]! += Math.min(own, 1)
          }
          assert.ok(
            used.every(part => part <= 1 + 1e-9),
            String(used),
          )
        }
        for (const taken of held) taken.release()
        if (total > 0) assert.equal(taking(resources, { gpu: total })!.shares['gpu']!.indexes.length, total)
      }),
      { seed },
    )
  })
})
