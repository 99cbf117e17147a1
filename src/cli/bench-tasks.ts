/** What `multiproc bench` has workers do. Exported functions, so that they are sent by reference. */
import type { Queue } from '../queue/queue.ts'

export function addOne(x: number): number {
  return x + 1
}

export function byteLength(bytes: Uint8Array): number {
  return bytes.byteLength
}

/** Keeps a processor busy with whole numbers. */
export function compute(rounds: number): number {
  let value = 1
  for (let round = 0; round < rounds; round++) value = (Math.imul(value, 1664525) + 1013904223) >>> 0
  return value
}

/** Puts numbers until the queue is shut down or this process is ended. */
export async function produce(queue: Queue<number[]>, batch: number): Promise<void> {
  for (let next = 0; ; next++) {
    try {
      await queue.putMany(Array.from({ length: batch }, () => [next]))
    } catch {
      // The reader has what it wanted.
      return
    }
  }
}
