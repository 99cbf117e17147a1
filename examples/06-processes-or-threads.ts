/**
 * Measures two kinds of work in three places. Work that computes gets faster with the number of cores, in threads and
 * in processes alike. Work that waits for others (a database, a web page) does not need them: while one thread waits
 * for an answer, Node.js lets it ask for the next, but a worker takes one task after the other.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { isDeepStrictEqual } from 'node:util'
import { Pool, cpuCount } from 'multiproc'

// A server on this machine that thinks for 50 ms before it answers: the work that waits, waits for it.
const server = createServer({ allowHalfOpen: true }, socket => {
  socket.on('data', question => setTimeout(() => socket.end(`answer to ${question.toString()}`), 50))
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo

/** CPU-bound: counts the prime numbers below a limit, the slow way. */
function countPrimes(limit: number): number {
  let count = 0
  for (let candidate = 2; candidate < limit; candidate++) {
    let isPrime = true
    for (let divisor = 2; divisor * divisor <= candidate && isPrime; divisor++) {
      if (candidate % divisor === 0) isPrime = false
    }
    if (isPrime) count++
  }
  return count
}

/** I/O-bound: asks the server and waits for its answer. */
async function ask(question: number): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.end(String(question))
  return await text(socket)
}

async function measure<T>(run: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const startedAt = performance.now()
  const value = await run()
  return { ms: performance.now() - startedAt, value }
}

const limits = Array.from({ length: 16 }, (_, index) => 400_000 + index)
const questions = Array.from({ length: 16 }, (_, index) => index)

const threads = new Pool({ context: 'thread' })
const processes = new Pool({ context: 'spawn' })
// Starts all workers and loads the functions before the clock runs.
for (const pool of [threads, processes]) {
  await pool.map(countPrimes, questions)
  await pool.map(ask, questions)
}

const measured = {
  'CPU-bound': {
    'one thread': await measure(async () => limits.map(countPrimes)),
    threads: await measure(() => threads.map(countPrimes, limits)),
    processes: await measure(() => processes.map(countPrimes, limits)),
  },
  'I/O-bound': {
    'one thread': await measure(() => Promise.all(questions.map(ask))),
    threads: await measure(() => threads.map(ask, questions)),
    processes: await measure(() => processes.map(ask, questions)),
  },
}

for (const pool of [threads, processes]) {
  pool.close()
  await pool.join()
}
server.close()

console.log(`${limits.length} tasks of each kind, ${cpuCount()} workers, times in ms`)
console.log()
console.log('            one thread   threads   processes')
for (const [kind, row] of Object.entries(measured)) {
  const cells = [row['one thread'].ms.toFixed(0).padStart(12), row.threads.ms.toFixed(0).padStart(10)]
  console.log(`${kind.padEnd(10)}${cells.join('')}${row.processes.ms.toFixed(0).padStart(12)}`)
}
console.log()
for (const [kind, row] of Object.entries(measured)) {
  const msMax = Math.max(...Object.values(row).map(({ ms }) => ms))
  for (const [place, { ms }] of Object.entries(row)) {
    console.log(`${kind}, ${place}`.padEnd(23) + '█'.repeat(Math.max(1, Math.round((ms / msMax) * 40))))
  }
}
console.log()
const areEqual = Object.values(measured).every(row => {
  const [first, ...others] = Object.values(row).map(({ value }) => value)
  return others.every(value => isDeepStrictEqual(value, first))
})
console.log(`All three gave the same results: ${areEqual ? 'yes' : 'no'}`)
