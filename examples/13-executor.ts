/** An executor, as in Python's concurrent.futures: futures are taken as they are completed, and a map in order. */
import { type Future, ProcessPoolExecutor, asCompleted } from 'multiproc'

function countPrimes(limit: number): number {
  let count = 0
  for (let n = 2; n < limit; n++) {
    let isPrime = true
    for (let divisor = 2; divisor * divisor <= n && isPrime; divisor++) isPrime = n % divisor !== 0
    if (isPrime) count++
  }
  return count
}

const executor = new ProcessPoolExecutor({ maxWorkers: 2 })

const limits = new Map<Future<number>, number>()
for (const limit of [10, 100, 1000]) limits.set(executor.submit(countPrimes, limit), limit)
for await (const future of asCompleted(limits.keys())) {
  console.log(`${await future} primes below ${limits.get(future)}`)
}

for await (const power of executor.map(Math.pow, [2, 3, 4], [5, 2, 1])) console.log(power)
await executor.shutdown()
