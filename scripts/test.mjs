// Runs the compiled tests: all of build/test/**/*.test.js, or those whose path contains one of the arguments, without
// those whose path contains what follows --except.
//
//   node scripts/test.mjs [part of a path...] [--except part of a path]...
//   SEED=123 node scripts/test.mjs pool        replays the random orders of a failed run
//
// This process picks the files and starts scripts/run-test-files.mjs in a process group of its own. When that ends,
// whatever is still alive in the group is a process that a test left behind: it is killed, and the run fails.
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { listProcesses } from './process-list.mjs'
import { removeStaleOutput } from './remove-stale-output.mjs'

const SECONDS_FOR_ENDING_PROCESSES = 3

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const testRoot = join(root, 'build', 'test')

function chooseFiles(wanted, unwanted) {
  if (!existsSync(testRoot)) {
    console.error('There is no build/test: the tests are not compiled\nTo fix: npm run build')
    process.exit(1)
  }
  const names = readdirSync(testRoot, { recursive: true })
    .map(name => name.replaceAll('\\', '/'))
    .filter(name => name.endsWith('.test.js'))
    .toSorted((a, b) => (a < b ? -1 : 1))
  const matches = part =>
    names.filter(name => name.includes(part.replace(/^test\//, '').replace(/\.ts$/, '.js')))
  const unmatched = [...wanted, ...unwanted].filter(part => matches(part).length === 0)
  if (unmatched.length > 0 || names.length === 0) {
    console.error(
      `No test file matches ${unmatched.join(', ') || '*.test.js'}\nTo fix: name a part of a path below test/`,
    )
    process.exit(1)
  }
  const isOneOf = (parts, name) => parts.some(part => matches(part).includes(name))
  const chosen = names.filter(
    name => (wanted.length === 0 || isOneOf(wanted, name)) && !isOneOf(unwanted, name),
  )
  return chosen.map(name => join(testRoot, name))
}

function chooseSeed() {
  const given = process.env['SEED']
  if (given === undefined || given === '') return String(Math.floor(Math.random() * 2 ** 31))
  if (!/^-?\d{1,10}$/.test(given)) {
    console.error(
      `SEED is "${given}", which is no whole number of at most 10 digits\nTo fix: SEED=123 npm test`,
    )
    process.exit(1)
  }
  return given
}

/** Waits until the group is empty; kills what stays, and returns it. */
async function sweep(group) {
  const deadline = Date.now() + SECONDS_FOR_ENDING_PROCESSES * 1000
  for (;;) {
    const left = listProcesses()?.filter(each => each.group === group) ?? []
    if (left.length === 0) return []
    if (Date.now() > deadline) {
      for (const each of left) {
        try {
          process.kill(each.pid, 'SIGKILL')
        } catch (error) {
          if (error.code !== 'ESRCH') throw error
        }
      }
      return left
    }
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

for (const file of removeStaleOutput()) console.log(`Removed ${file}: its source is gone`)
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { except: { type: 'string', multiple: true, default: [] } },
})
const files = chooseFiles(positionals, values.except)
const seed = chooseSeed()
console.log(`Node ${process.version}, ${files.length} test files, SEED=${seed}`)

const runner = spawn(
  process.execPath,
  ['--enable-source-maps', join(root, 'scripts', 'run-test-files.mjs'), ...files],
  // The ipc channel tells the runner when this process is killed: no message ever goes over it.
  {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    detached: process.platform !== 'win32',
    env: { ...process.env, SEED: seed },
  },
)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    console.error(`\nStopped by ${signal}`)
    // On POSIX the whole group, tests and their children; Windows has no groups and ends the tree by the channel.
    if (process.platform === 'win32') runner.kill()
    else if (runner.pid !== undefined) process.kill(-runner.pid, 'SIGKILL')
  })
}
const { code, signal } = await new Promise((resolve, reject) => {
  runner.on('error', reject)
  runner.on('exit', (code, signal) => resolve({ code, signal }))
})
if (signal !== null) console.error(`The test runner was killed by ${signal}`)

const left = process.platform === 'win32' || signal !== null ? [] : await sweep(runner.pid)
if (left.length > 0) {
  console.error(`${left.length} processes outlived the tests that started them, and were killed:`)
  for (const each of left) console.error(`  ${each.pid} ${each.command}`)
}
const hasPassed = code === 0 && left.length === 0
if (!hasPassed)
  console.error(`To replay: SEED=${seed} node scripts/test.mjs ${process.argv.slice(2).join(' ')}`)
process.exitCode = hasPassed ? 0 : code || 1
