// Runs real processes and threads that use everything at once, and kills them at random; says what then is not as it
// must be, and exits with 1. The scenarios are in test/soak/scenarios/.
//
//   npm run soak -- [--minutes n] [--kills n] [--seed n] [--only name]...
//
// The seed of a round is printed with it: `--seed <that> --only <scenario> --kills 1` begins with the same round (its
// random choices, that is; when processes run is up to the system).
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { listProcesses } from './process-list.mjs'

const SECONDS_FOR_ENDING_PROCESSES = 10
/** A day: as long as the kills take. */
const MINUTES_MAX = 1440
const USAGE = 'npm run soak -- [--minutes 10] [--kills 10000] [--seed 123] [--only queues]...'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const main = join(root, 'build', 'test', 'soak', 'soak-main.js')

function fail(message) {
  console.error(`${message}\nTo fix: ${USAGE}`)
  process.exit(2)
}

async function readOptions() {
  let values
  try {
    values = parseArgs({
      options: {
        minutes: { type: 'string' },
        kills: { type: 'string' },
        seed: { type: 'string' },
        only: { type: 'string', multiple: true },
      },
    }).values
  } catch (error) {
    fail(error.message)
  }
  const number = (name, fallback, pattern) => {
    const text = values[name]
    if (text === undefined) return fallback
    if (!pattern.test(text)) fail(`--${name} is "${text}", which is no such number`)
    return Number(text)
  }
  const { SCENARIOS } = await import('../build/test/soak/run-soak.js')
  const { nativeAddon } = await import('../dist/platform/native-addon.js')
  const hasAddon = nativeAddon() !== undefined
  const names = SCENARIOS.filter(each => hasAddon || !each.isNativeOnly).map(each => each.name)
  const wrong = values.only?.find(name => !names.includes(name))
  if (wrong !== undefined)
    fail(
      `--only is "${wrong}", and the scenarios are ${names.join(', ')}${hasAddon ? '' : ' without the addon'}`,
    )
  const kills = number('kills', 0, /^\d{1,9}$/)
  return {
    minutes: number('minutes', kills > 0 ? MINUTES_MAX : 2, /^\d{1,6}(\.\d+)?$/),
    kills,
    seed: number('seed', Math.floor(Math.random() * 2 ** 31), /^\d{1,10}$/),
    only: values.only ?? [],
  }
}

/** Processes of the group that have not ended after some time; they are killed. */
async function sweep(group) {
  const giveUpAt = Date.now() + SECONDS_FOR_ENDING_PROCESSES * 1000
  for (;;) {
    const left = listProcesses().filter(each => each.group === group)
    if (left.length === 0) return []
    if (Date.now() > giveUpAt) {
      for (const { pid } of left) {
        try {
          process.kill(pid, 'SIGKILL')
        } catch (error) {
          if (error.code !== 'ESRCH') throw error
        }
      }
      return left
    }
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

if (process.platform !== 'linux') fail('The soak needs Linux: it looks for what is left in /proc')
if (!existsSync(main)) fail('There is no build/test/soak: run "npm run build"')
const options = await readOptions()
const folder = mkdtempSync(join(tmpdir(), 'multiproc-soak-'))
console.log(
  `Node ${process.version}, ${options.minutes} minutes, ${options.kills || 'any number of'} kills, seed ${options.seed}`,
)
const child = spawn(process.execPath, ['--enable-source-maps', main, JSON.stringify(options)], {
  // A group of its own, so that nothing is overlooked; the channel tells it when this process is killed.
  detached: true,
  stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  // What is left in its folder for temporary files was left by it.
  env: { ...process.env, TMPDIR: folder },
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch (error) {
      if (error.code !== 'ESRCH') throw error
    }
  })
}
const { code, signal } = await new Promise((resolve, reject) => {
  child.on('error', reject)
  child.on('exit', (code, signal) => resolve({ code, signal }))
})
if (signal !== null) console.error(`The soak was killed by ${signal}`)
const left = await sweep(child.pid)
for (const each of left) console.error(`VIOLATION: left behind, and killed: ${each.pid} ${each.command}`)
rmSync(folder, { recursive: true, force: true })
process.exitCode = code === 0 && left.length === 0 ? 0 : code || 1
