/** A task that notes that it ran. (A function of a module: programs and agents of this machine both have it.) */
import { appendFileSync, readFileSync } from 'node:fs'

export function noted(file: string, n: number): number {
  appendFileSync(file, `${n}\n`)
  return n
}

/** What has run, in that order. */
export function notesIn(file: string): number[] {
  return readFileSync(file, 'utf8').trimEnd().split('\n').map(Number)
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
