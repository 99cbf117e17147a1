// The benchmark program: runs every measurement, prints the report and writes it as Markdown and JSON.
import { mkdirSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readEnvironment } from './environment.mjs'
import { parseOptions, UsageError } from './options.mjs'
import { toPage } from './page.mjs'
import { makeReport, toMarkdown } from './report.mjs'
import { runBenchmark } from './runner.mjs'

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
  const { rows, libraries, rounds, isQuick } = options
  const onProgress = line => console.error(line)
  const run = await runBenchmark({ rounds, workers, rows, libraries, isQuick, onProgress })
  const measured = libraries.filter(({ name }) => !run.skipped.some(({ library }) => library === name))
  if (measured.length === 0) throw new UsageError('Nothing was measured: no library could be loaded')
  const report = makeReport({
    environment: readEnvironment(measured),
    options: { ...options, command },
    workers,
    rows,
    libraries,
    run,
  })
  const markdown = toMarkdown(report)
  // Only a whole run replaces the results of the last whole run.
  const name = isQuick ? 'quick' : options.isPartial ? 'partial' : 'latest'
  const directory = resolve(options.out ?? fileURLToPath(new URL('results', import.meta.url)))
  mkdirSync(directory, { recursive: true })
  writeFileSync(resolve(directory, `${name}.md`), markdown)
  writeFileSync(resolve(directory, `${name}.json`), `${JSON.stringify(report, undefined, 2)}\n`)
  if (name === 'latest' && options.out === undefined) writeFileSync(pageFile, toPage(report))
  console.log(markdown)
  console.error(`Written to ${resolve(directory, name)}.md and .json`)
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(error.message)
  process.exitCode = 2
}
