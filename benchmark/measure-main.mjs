// The child that the runner starts for one library and one row: it takes the job as its argument, measures, writes
// the outcome to descriptor 3 and exits. Not over an IPC channel: workerpool takes a process that has one for its
// worker.
import { writeFileSync } from 'node:fs'
import { libraries } from './libraries/all-libraries.mjs'
import { rows } from './rows/all-rows.mjs'

const job = JSON.parse(process.argv[2])

function finish(outcome) {
  writeFileSync(3, JSON.stringify(outcome))
  process.exit(0)
}

function fail(error) {
  finish({ failure: error?.verdict ?? 'error', message: String(error?.message ?? error) })
}

// The runner holds the other end of stdin. When it is killed, this process and all its workers, which share its
// process group, go too.
process.stdin.on('end', () => process.kill(-process.pid, 'SIGKILL'))
process.stdin.resume()
process.stdin.unref?.()
process.on('uncaughtException', fail)

try {
  const library = libraries.find(({ name }) => name === job.library)
  const createPool = await library.load()
  if (job.row === undefined) finish({ samples: [] })
  const row = rows.find(({ id }) => id === job.row)
  const { workers, size } = job
  finish(await row.measure({ createPool, workers, size, library }))
} catch (error) {
  fail(error)
}
