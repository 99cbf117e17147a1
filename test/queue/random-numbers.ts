/** Random numbers that a seed repeats: the seed of the run, which scripts/test.mjs prints. */
export const seed = Number(process.env['SEED'] ?? 1)

/** Numbers from 0 to below `limit`. */
export function randomNumbers(from: number): (limit: number) => number {
  let state = from >>> 0
  return limit => {
    // Mulberry32.
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
}
