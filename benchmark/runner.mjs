// Measures every library in every row, each time in a fresh process that is alone: one job after another, never two
// at once, and the libraries of a row next to each other in time. Whatever a job leaves behind is killed with it.
import { spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { loadavg } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { folderOf } from './cluster/servers.mjs'
import { pythonCommand, pythonVersion } from './libraries/python.mjs'

// A job takes some seconds; one that takes longer than this hangs.
const deadlineMs = 120_000
const stderrCharactersMax = 2_000
// For the killed workers of one job to be gone before the next one starts.
const settleMs = 100
// An ended process has written its outcome; reading it takes no longer than this.
const outcomeMsMax = 1_000

/** Kills the process group that `child` leads: itself and the workers that it started. */
function killGroup(child) {
  if (child.pid === undefined) return // it could not be started
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch (error) {
    if (error.code !== 'ESRCH') throw error // ESRCH: all of them have ended
  }
}

function commandOf(library, job) {
  if (library.role === 'python') {
    return [
      pythonCommand,
      [fileURLToPath(new URL('python/measure.py', import.meta.url)), JSON.stringify(job)],
    ]
  }
  return [
    process.execPath,
    [fileURLToPath(new URL('measure-main.mjs', import.meta.url)), JSON.stringify(job)],
  ]
}

/** Runs one job to its end and answers its outcome: `{ samples, note? }` or `{ failure, message }`. */
async function runJob(library, job) {
  const [command, args] = commandOf(library, { ...job, deadlineMs })
  // The outcome comes over descriptor 3: a file would be left behind when this process is killed.
  const child = spawn(command, args, { stdio: ['pipe', 'ignore', 'pipe', 'pipe'], detached: true })
  // Of servers that are killed with the job, which may still write.
  const removeFolder = () => rmSync(folderOf(child.pid), { recursive: true, force: true, maxRetries: 3 })
  const killWithRunner = () => {
    killGroup(child)
    removeFolder()
  }
  process.once('exit', killWithRunner)
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr = (stderr + text).slice(-stderrCharactersMax)
  })
  let outcome = ''
  child.stdio[3].setEncoding('utf8').on('data', text => {
    outcome += text
  })
  const outcomeEnd = new Promise(resolve => {
    child.stdio[3].on('close', resolve)
  })
  let hasHung = false
  const deadline = setTimeout(() => {
    hasHung = true
    killGroup(child)
  }, deadlineMs)
  const end = await new Promise(resolve => {
    child.on('error', error => resolve(error.message))
    // Not "close": a worker that outlives its parent keeps stderr open.
    child.on('exit', (code, signal) => resolve(signal ?? `code ${code}`))
  })
  clearTimeout(deadline)
  killGroup(child)
  process.off('exit', killWithRunner)
  await Promise.all([pause(settleMs), Promise.race([outcomeEnd, pause(outcomeMsMax)])])
  removeFolder()
  if (hasHung) return { failure: 'hung', message: `no outcome within ${deadlineMs / 1000} s` }
  if (outcome !== '') return JSON.parse(outcome)
  return {
    failure: 'died',
    message: `ended with ${end} and no outcome: ${stderr.trim() || 'nothing on stderr'}`,
  }
}

/** Whether the library is measured in that row. */
export function takesPart({ name, onlyRows }, { id, onlyLibraries }) {
  return (
    (onlyRows === undefined || onlyRows.includes(id)) &&
    (onlyLibraries === undefined || onlyLibraries.includes(name))
  )
}

/** Why the library can't be measured here, or undefined. */
async function reasonToSkip(library) {
  if (library.role === 'python') {
    try {
      pythonVersion()
      return undefined
    } catch (error) {
      return `"${pythonCommand}" does not run: ${error.message.split('\n')[0]}`
    }
  }
  const { failure, message } = await runJob(library, { library: library.name })
  return failure === undefined ? undefined : message
}

/**
 * @param {{ rounds: number, workers: number, rows: object[], libraries: object[], isQuick: boolean, onProgress: (line: string) => void }} options
 * @returns {Promise<{ results: object[], skipped: object[], loadAverages: number[] }>} One result for each row and
 * library, with the samples of all rounds; `failure` is that of the last round that failed.
 */
export async function runBenchmark({ rounds, workers, rows, libraries, isQuick, onProgress }) {
  const skipped = []
  const present = []
  for (const library of libraries) {
    const reason = await reasonToSkip(library)
    if (reason === undefined) {
      present.push(library)
    } else {
      skipped.push({ library: library.name, reason })
      onProgress(`${library.name} is left out: ${reason}`)
    }
  }
  const results = rows.flatMap(row =>
    present
      .filter(library => takesPart(library, row))
      .map(library => ({ row: row.id, library: library.name, samples: [] })),
  )
  const loadAverages = []
  for (let round = 0; round < rounds; round += 1) {
    for (const row of rows) {
      const ofRow = results.filter(result => result.row === row.id)
      for (let i = 0; i < ofRow.length; i += 1) {
        // Every round starts with another library, so that no one always follows the same neighbour's heat.
        const result = ofRow[(i + round) % ofRow.length]
        const library = present.find(({ name }) => name === result.library)
        const { startMethod } = library
        const size = isQuick ? row.quickSize : row.size
        loadAverages.push(loadavg()[0])
        const outcome = await runJob(library, {
          library: library.name,
          row: row.id,
          workers,
          size,
          startMethod,
        })
        if (outcome.failure === undefined) {
          result.samples.push(...outcome.samples)
          if (outcome.note) result.note = outcome.note
        } else {
          result.failure = outcome.failure
          result.message = outcome.message
        }
        const shown = outcome.failure ?? outcome.samples.map(sample => sample.toPrecision(4)).join(' ')
        onProgress(`round ${round + 1}/${rounds}  ${row.id}  ${library.name}: ${shown}`)
      }
    }
  }
  return { results, skipped, loadAverages }
}
