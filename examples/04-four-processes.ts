/** Starts four processes, each with arguments of its own, and then waits for all of them. */
import { Process } from 'multiproc'

function printNumber(index: number, value: number): void {
  console.log(`Process ${index}: ${value}`)
}

const processes = [1, 2, 3, 4].map(
  (value, index) => new Process({ target: printNumber, args: [index, value] }),
)
for (const child of processes) child.start()
for (const child of processes) await child.join()
console.log('All processes have ended')
