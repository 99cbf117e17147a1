// Runs the test files that it is given, each in a process of its own, with node:test and its "spec" reporter.
// Started by scripts/test.mjs as the leader of a process group.
//
// A file that does not end within its time is killed, with every process that it started, and reported with the
// names of the tests that were running. node:test's own `timeout` does not do that: since Node 24 it ends a test
// but not its file, and on no version does it end a file that ignores SIGTERM or left a child holding its output.
import { availableParallelism } from 'node:os'
import { dirname, relative } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import { familyOf, listProcesses } from './process-list.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
// On a quiet machine of 2 processors the longest file takes 40 s. Tests that hang notice it much earlier by themselves
// (test/leak-check.ts); this is for files that cannot.
const SECONDS_PER_FILE = Number(process.env['TEST_FILE_SECONDS'] ?? 300)
const SECONDS_AFTER_KILL = 10
/** More than there are processors: most of the time a test waits for processes to start or to end. */
const FILES_AT_ONCE = availableParallelism() + 2
/** So many files are named at the end, with how long each took. */
const LONGEST_FILES = 12

/** @type {Map<string, NodeJS.Timeout>} files that run now, with the timer that ends them. */
const running = new Map()
/** @type {Map<string, number>} by file, when it began and how many milliseconds it took */
const began = new Map()
const took = new Map()
/** @type {Map<string, Set<string>>} per source file, the tests that have begun and not ended. */
const unfinishedTests = new Map()
/** @type {Set<string>} */
const stoppedFiles = new Set()
let hasFailed = false

/** `test/pool/map.test.ts`, for the compiled file and for its source alike: with source maps, events name either. */
function sourceName(file) {
  return relative(root, file)
    .replaceAll('\\', '/')
    .replace(/^build\//, '')
    .replace(/\.js$/, '.ts')
}

function stopFile(file) {
  stoppedFiles.add(file)
  hasFailed = true
  console.error(`${sourceName(file)} did not end within ${SECONDS_PER_FILE} s: it is being killed`)
  const processes = listProcesses()
  if (processes === undefined) endRun('This system offers no list of processes, so the whole run ends here')
  const group = processes.filter(each => each.group === process.pid)
  const own = familyOf(process.pid, group)
  const culprit = group.find(each => each.parent === process.pid && each.command.includes(file))
  const family = culprit === undefined ? new Set() : familyOf(culprit.pid, group)
  for (const each of group) {
    // A process that is not below this one any more is an orphan. It may belong to another file, but an orphan is
    // wrong there too, and it can hold the output of the hung file open.
    if (!own.has(each.pid))
      console.error(`Killed as well, its parent being gone: ${each.pid} ${each.command}`)
    if (family.has(each.pid) || !own.has(each.pid)) kill(each.pid)
  }
  running.set(
    file,
    setTimeout(() => endRun(`${sourceName(file)} could not be killed`), SECONDS_AFTER_KILL * 1000),
  )
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

function endRun(why) {
  console.error(`${why}\nNot finished: ${[...running.keys()].map(sourceName).join(', ')}`)
  process.exit(1)
}

/** The file of an event that is about a whole test file, else undefined. */
function wholeFile({ type, data }) {
  if (data?.nesting !== 0 || !data.name?.endsWith('.test.js')) return undefined
  return type === 'test:dequeue' || type === 'test:complete' ? data.name : undefined
}

function watch(event) {
  const { type, data } = event
  const file = wholeFile(event)
  if (file !== undefined) {
    clearTimeout(running.get(file))
    if (type === 'test:dequeue') {
      running.set(file, setTimeout(stopFile, SECONDS_PER_FILE * 1000, file))
      began.set(file, performance.now())
    } else {
      running.delete(file)
      took.set(file, performance.now() - began.get(file))
    }
  } else if (type === 'test:dequeue') {
    const source = sourceName(data.file ?? '')
    unfinishedTests.set(source, (unfinishedTests.get(source) ?? new Set()).add(data.name))
  } else if (type === 'test:complete') {
    unfinishedTests.get(sourceName(data.file ?? ''))?.delete(data.name)
  }
  if (type === 'test:fail' && data.todo === undefined) hasFailed = true
}

// The parent was killed: nobody waits for the result. Ending this process alone would leave the tests running.
process.on('disconnect', () => {
  if (process.platform !== 'win32') process.kill(-process.pid, 'SIGKILL')
  process.exit(1)
})
process.channel?.unref()

const events = run({ files: process.argv.slice(2), concurrency: FILES_AT_ONCE })
async function* watched() {
  for await (const event of events) {
    watch(event)
    yield event
  }
}
await pipeline(watched(), new spec(), process.stdout, { end: false })
const stoppedSources = new Set(Array.from(stoppedFiles, sourceName))
for (const source of process.argv.slice(2).map(sourceName)) {
  const names = [...(unfinishedTests.get(source) ?? [])].map(name => `"${name}"`).join(', ')
  if (stoppedSources.has(source))
    console.error(`${source} was killed after ${SECONDS_PER_FILE} s; running then: ${names || 'unknown'}`)
  else if (names !== '') console.error(`${source} ended by itself, although this was running: ${names}`)
}
const longest = [...took].toSorted(([, a], [, b]) => b - a).slice(0, LONGEST_FILES)
if (took.size > LONGEST_FILES) {
  console.log(`The longest of ${took.size} files:`)
  for (const [file, ms] of longest)
    console.log(`${(ms / 1000).toFixed(1).padStart(7)} s  ${sourceName(file)}`)
}
process.exitCode = hasFailed ? 1 : 0
// A hung child that could not be reached must not keep the runner: the files are all accounted for.
process.stdout.write('', () => process.exit())
