// @ts-nocheck: each tool reads it with its own options.
import { done, failure } from './harness.mjs'

interface Unused {
  a: string
  b: number
}
type AlsoUnused = 'a' | 'b'
const factor: number = 3
function deep<T>(x: T): never {
  // The next statement is on line 13.
  //
  throw new Error('deep ' + x + factor)
}
const outer = (x: number): void => {
  if (x > 0) deep(x)
}
failure(
  'positions in the file that the user wrote',
  outer,
  [1],
  /deep/,
  /positions\.ts:13:\d+\)?\n.*positions\.ts:16:/,
).finally(done)
