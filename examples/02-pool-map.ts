/** Lets four processes share the work: map() calls square() for every number, and keeps the order. */
import { Pool } from 'multiproc'

function square(x: number): number {
  return x * x
}

const pool = new Pool({ processes: 4 })
const squares = await pool.map(square, [1, 2, 3, 4, 5])
console.log(squares)

pool.close()
await pool.join()
