// Runs functions in a Pool and appends one line of JSON a row to the file ROWS. The only file that knows how functions
// get to other processes.
import { deepStrictEqual } from 'node:assert'
import { appendFileSync } from 'node:fs'
import { Pool } from 'multiproc'

let pool

function report(row) {
  appendFileSync(process.env.ROWS, `${JSON.stringify(row)}\n`)
}

/** Calls `fn` in a worker and compares the result. The function is encoded before this returns. */
export async function row(name, fn, args, expected) {
  try {
    pool ??= new Pool({ processes: 1 })
    deepStrictEqual(await pool.apply(fn, args), expected)
    report({ name })
  } catch (error) {
    report({ name, failure: error?.stack ?? String(error) })
  }
}

/** Expects that `fn` throws in a worker, with a message and a stack that match. */
export async function failure(name, fn, args, message, stack = /./) {
  try {
    pool ??= new Pool({ processes: 1 })
    const error = await pool.apply(fn, args).then(
      () => undefined,
      thrown => thrown,
    )
    if (!error) throw new Error('nothing was thrown')
    if (!message.test(error.message)) throw error
    if (!stack.test(error.stack)) throw new Error(`the stack does not match ${stack}: ${error.stack}`)
    report({ name })
  } catch (error) {
    report({ name, failure: error?.stack ?? String(error) })
  }
}

export async function done() {
  report({ done: true })
  pool?.close()
  await pool?.join()
}
