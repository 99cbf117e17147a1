/**
 * Producers and consumers that are killed at random moments: the queue goes on at once, nothing is damaged, nothing
 * arrives twice, and nothing is missing but what a killed consumer had taken.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Process, Queue } from 'multiproc'
import { checkLeaks } from '../leak-check.js'
import { randomNumbers, seed } from './random-numbers.js'
import { forEachSharingMethod } from './sharing-methods.js'

checkLeaks()

const ROUNDS = 4
const PRODUCERS = 3
const CONSUMERS = 3
const BATCH = 4

type Item = [producer: number, number: number, filler: string]
type Report = [consumer: number, producer: number, number: number, fillerLength: number]

/** What an item carries besides its number: mostly nothing, sometimes more than the ring takes. */
function fillerLength(number: number): number {
  if (number % 97 === 5) return 300_000
  return number % 13 === 0 ? 3000 : number % 7
}

forEachSharingMethod(context => {
  for (let round = 0; round < ROUNDS; round++) {
    test(`round ${round}: a producer and two consumers are killed`, async () => {
      const random = randomNumbers(seed + round * 7919)
      const maxSize = round % 2 === 0 ? 0 : 1 + random(40)
      const count = 400
      using queue = new Queue<Item>({ maxSize })
      using reports = new Queue<Report>()
      const producers = Array.from(
        { length: PRODUCERS },
        (_, producer) =>
          new Process({
            context,
            daemon: true,
            target: () => {
              for (let number = 0; number < count;) {
                const items = Array.from({ length: 1 + (number % 3) }, (_, ahead): Item => {
                  return [producer, number + ahead, 'x'.repeat(fillerLength(number + ahead))]
                })
                queue.putManySync(items)
                number += items.length
              }
            },
          }),
      )
      const consumers = Array.from(
        { length: CONSUMERS },
        (_, consumer) =>
          new Process({
            context,
            daemon: true,
            target: async () => {
              for (;;) {
                let items: Item[]
                try {
                  items =
                    consumer === 0 ? [queue.getSync()] : await queue.getMany({ max: 1 + (consumer % BATCH) })
                } catch (error) {
                  if ((error as { code: string }).code === 'ERR_CLOSED') return
                  throw error
                }
                const found = items.map(([producer, number, { length }]): Report => {
                  return [consumer, producer, number, length]
                })
                reports.putManySync(found)
              }
            },
          }),
      )
      const victims = [producers[0]!, consumers[0]!, consumers[1]!]
      for (const child of [...producers, ...consumers]) child.start()
      const seen: Report[] = []
      for (const victim of victims) {
        for (let left = 1 + random(150); left > 0; left--) seen.push(await reports.get())
        victim.kill()
      }
      for (const child of victims) await child.join()
      for (const child of producers) await child.join()
      queue.shutdown()
      for (const child of consumers) await child.join()
      assert.deepEqual(
        [...producers.slice(1), ...consumers.slice(2)].map(child => child.exitCode),
        Array.from({ length: PRODUCERS + CONSUMERS - victims.length }, () => 0),
      )
      while (!reports.empty()) seen.push(await reports.get())

      const lastOf = new Map<string, number>()
      const numbersOf = Array.from({ length: PRODUCERS }, () => new Set<number>())
      for (const [consumer, producer, number, length] of seen) {
        assert.equal(length, fillerLength(number))
        assert.ok(!numbersOf[producer]!.has(number), `${producer}:${number} arrived twice`)
        numbersOf[producer]!.add(number)
        const key = `${consumer}:${producer}`
        assert.ok((lastOf.get(key) ?? -1) < number, `${key} are out of order`)
        lastOf.set(key, number)
      }
      let missing = 0
      for (const [producer, numbers] of numbersOf.entries()) {
        const end = producer === 0 ? Math.max(-1, ...numbers) + 1 : Math.max(count, Math.max(...numbers) + 1)
        for (let number = 0; number < end; number++) if (!numbers.has(number)) missing++
      }
      assert.ok(missing <= 2 * BATCH, `${missing} items are missing`)
    })
  }
})
