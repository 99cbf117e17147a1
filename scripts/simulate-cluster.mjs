// Plays stories of a cluster in time that is not real: the protocol of src/cluster itself, between simulated machines, a
// simulated network and a simulated server, with deaths, cuts and lost acknowledgements that follow from a seed. Says which
// seeds went wrong, and exits with 1 if any did.
//
//   npm run simulate -- [--seeds 1000] [--first 1] [--only 17]
//   npm run simulate -- --growth [--items 10000000]
//
// --growth measures what more agents cost, up to a thousand, and prints the table of src/cluster/README.md.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const USAGE = 'npm run simulate -- [--seeds 1000] [--first 1] [--only 17] | --growth [--items 10000000]'
const main = join(
  dirname(dirname(fileURLToPath(import.meta.url))),
  'build/test/cluster/simulation/simulate-main.js',
)

function fail(message) {
  console.error(`${message}\nTo fix: ${USAGE}`)
  process.exit(2)
}

function readOptions() {
  let values
  try {
    values = parseArgs({
      options: {
        seeds: { type: 'string', default: '1000' },
        first: { type: 'string', default: '1' },
        only: { type: 'string' },
        growth: { type: 'boolean', default: false },
        items: { type: 'string', default: '10000000' },
      },
    }).values
  } catch (error) {
    fail(error.message)
  }
  const number = name => {
    if (!/^\d{1,9}$/.test(values[name])) fail(`--${name} is "${values[name]}", which is no such number`)
    return Number(values[name])
  }
  const only = values.only === undefined ? undefined : number('only')
  return {
    isGrowth: values.growth,
    items: number('items'),
    seeds: only === undefined ? number('seeds') : 1,
    first: only ?? number('first'),
  }
}

if (!existsSync(main)) fail('There is no build/test: run "npm run build"')
const options = readOptions()
// --expose-gc: memory is measured without what nobody has any more.
const args = ['--enable-source-maps', '--expose-gc', main, JSON.stringify(options)]
const child = spawn(process.execPath, args, { stdio: 'inherit' })
child.on('exit', code => (process.exitCode = code ?? 1))
