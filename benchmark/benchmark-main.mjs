// The benchmark program: runs every measurement, prints the report and writes it as Markdown and JSON.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readEnvironment } from './environment.mjs'
import { parseOptions, UsageError } from './options.mjs'
import { toPage } from './page.mjs'
import { makeReport, toMarkdown } from './report.mjs'
import { groups } from './rows/all-rows.mjs'
import { runBenchmark, takesPart } from './runner.mjs'

// The targets are for two workers, the number of cores of the smallest machine that they are judged on.
const workers = 2

/** A page of the documentation, of the results that are in the repository. */
const pageFile = fileURLToPath(new URL('../docs/benchmarks.md', import.meta.url))

// Exiting runs the runner's "exit" listener, which kills the job in flight.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))

async function main(argv) {
  const options = parseOptions(argv)
  if (options.help !== undefined) return console.log(options.help)
  const command = ['npm run benchmark', ...(argv.length > 0 ? ['--', ...argv] : [])].join(' ')
  const directory = resolve(options.out ?? fileURLToPath(new URL('results', import.meta.url)))
  mkdirSync(directory, { recursive: true })
  for (const group of options.groups) {
    const rows = options.rows.filter(({ id }) => groups[group].some(row => row.id === id))
    const report = await measure({ ...options, rows, command })
    if (report === undefined) continue
    // Only a whole run replaces the results of the last whole run.
    const kind = options.isQuick ? 'quick' : 'partial'
    const isWhole = !options.isQuick && !options.isPartial
    const name = isWhole ? group : group === 'latest' ? kind : `${kind}-${group}`
    const markdown = toMarkdown(report)
    writeFileSync(resolve(directory, `${name}.md`), markdown)
    writeFileSync(resolve(directory, `${name}.json`), `${JSON.stringify(report, undefined, 2)}\n`)
    if (isWhole && options.out === undefined) writePage(directory)
    console.log(markdown)
    console.error(`Written to ${resolve(directory, name)}.md and .json`)
  }
}

/** The report of some rows, or `undefined` when there is nobody to take part in them. */
async function measure({ rows, libraries, rounds, isQuick, ...options }) {
  const taking = libraries.filter(library => rows.some(row => takesPart(library, row)))
  if (taking.length === 0) return undefined
  const onProgress = line => console.error(line)
  const run = await runBenchmark({ rounds, workers, rows, libraries: taking, isQuick, onProgress })
  const measured = taking.filter(({ name }) => !run.skipped.some(({ library }) => library === name))
  if (measured.length === 0) {
    console.error('Nothing of it was measured: no library could be loaded')
    return undefined
  }
  return makeReport({
    environment: readEnvironment(measured),
    options: { ...options, rounds, isQuick },
    workers,
    rows,
    libraries: taking,
    run,
  })
}

/** The page tells of the last whole run of each group. */
function writePage(directory) {
  const reports = Object.fromEntries(
    Object.keys(groups).flatMap(group => {
      const file = resolve(directory, `${group}.json`)
      return existsSync(file) ? [[group, JSON.parse(readFileSync(file, 'utf8'))]] : []
    }),
  )
  if (reports.latest) writeFileSync(pageFile, toPage(reports.latest, reports.cluster))
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(error.message)
  process.exitCode = 2
}
