// How fast a pool maps a tiny function over a million numbers: the cost of moving items, since the work is nothing.
// Most libraries have no map; their rate comes from single tasks over fewer items, and the report marks it.
import { checkSquares, integersBelow, runEach } from './squares.mjs'
import { timeOf } from './time-of.mjs'

export const mapSquares = {
  id: 'map-squares',
  title: 'map of 1,000,000 squares',
  unit: 'items/s',
  better: 'higher',
  how: 'A plain array of integers in, a plain array out, chunk size left to the library. Results are awaited as one array.',
  size: { items: 1_000_000, itemsOfItemByItem: 20_000, repeats: 3 },
  quickSize: { items: 5_000, itemsOfItemByItem: 500, repeats: 1 },
  targets: [
    { subject: 'multiproc process', reference: { bestPeerOf: 'python' }, factor: 5 },
    { subject: 'multiproc process', reference: { bestPeerOf: 'any' }, factor: 50 },
  ],
  async measure({ createPool, workers, size, library }) {
    const pool = createPool(workers)
    const isWhole = pool.map !== undefined && library.mapsItemByItem !== true
    const items = integersBelow(isWhole ? size.items : size.itemsOfItemByItem)
    const map = pool.map === undefined ? runEach.bind(undefined, pool) : part => pool.map('square', part)
    checkSquares(await map(items), items.length)
    const samples = []
    for (let i = 0; i < size.repeats; i += 1) {
      const { ms, value } = await timeOf(() => map(items))
      checkSquares(value, items.length)
      samples.push((items.length / ms) * 1000)
    }
    if (isWhole) return { samples }
    const origin = pool.map === undefined ? 'it has no map: single tasks' : 'its own map, a message an item'
    return { samples, note: `${origin}, over ${items.length.toLocaleString('en-US')} items` }
  },
}
