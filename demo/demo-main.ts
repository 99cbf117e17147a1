/**
 * Shows the library at work: runs the examples, and then computes facts about thousands of real files with one and
 * with two processes. Usage: npm run demo -- [directory...] [--limit n] [--no-examples]
 */
import { parseArgs } from 'node:util'
import { compareProcesses } from './compare-processes.ts'
import { defaultDirectories, findFiles } from './find-files.ts'
import { runExamples } from './run-examples.ts'

const { values, positionals } = parseArgs({
  options: { limit: { type: 'string', default: '4000' }, 'no-examples': { type: 'boolean' } },
  allowPositionals: true,
})
const limit = Number(values.limit)
if (!Number.isInteger(limit) || limit < 1) {
  console.error(`--limit must be a whole number from 1, but it is "${values.limit}"`)
  process.exit(2)
}
const directories = positionals.length > 0 ? positionals : defaultDirectories()

if (values['no-examples'] !== true) runExamples()

console.log('== Facts of real files: SHA-256, gzip size, number of words')
console.log(`Looking for files in ${directories.join(', ')}`)
const files = findFiles(directories, { limit })
if (files.length === 0) {
  console.error(`There is no readable file in ${directories.join(', ')}`)
  process.exit(2)
}
if (!(await compareProcesses(files))) process.exit(1)
