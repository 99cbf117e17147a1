/**
 * Several processes fill one array, each its own part, and nothing is copied: `sharedArray()` makes a typed array in
 * memory that all of them have, and a view of it travels as a reference to its place.
 */
import { Pool, sharedArray } from 'multiproc'

const width = 64
const height = 24
const pixels = sharedArray(Uint8Array, width * height)

/** Counts the steps of z = z² + c, for each point of one row of the Mandelbrot set. */
function draw(row: Uint8Array): void {
  const y = row.byteOffset / row.length
  for (let x = 0; x < row.length; x++) {
    const real = (x / row.length) * 3 - 2.2
    const imaginary = (y / height) * 2.4 - 1.2
    let [a, b, steps] = [0, 0, 0]
    while (a * a + b * b < 4 && steps < 255) {
      ;[a, b] = [a * a - b * b + real, 2 * a * b + imaginary]
      steps++
    }
    row[x] = steps
  }
}

await using pool = new Pool(2)
const rows = Array.from({ length: height }, (_, y) => pixels.subarray(y * width, (y + 1) * width))
await pool.map(draw, rows)

for (const row of rows) {
  console.log([...row].map(steps => ' .:-=+*#%@'[Math.min(9, Math.floor(Math.log2(steps + 1)))]).join(''))
}
