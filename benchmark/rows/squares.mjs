// The squares that two rows compute, and the check that a library computed them all.
import { WrongResultError } from './wrong-result-error.mjs'

export const integersBelow = count => Array.from({ length: count }, (_, i) => i)

export function checkSquares(results, count) {
  if (results.length !== count) {
    throw new WrongResultError('wrong', `${results.length} results for ${count} items`)
  }
  for (let i = 0; i < count; i += 1) {
    if (results[i] !== i * i)
      throw new WrongResultError('wrong', `the square of ${i} came back as ${results[i]}`)
  }
}

/** Submits one task for each of the items at once, and waits for all of them. */
export const runEach = (pool, items) => Promise.all(items.map(item => pool.run('square', item)))
