/**
 * Computes the facts of all files with one and with two processes, and compares results and times. Each is run twice,
 * by turns, and its faster run counts: other programs of the machine can only make a run slower.
 */
import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { SingleBar } from 'cli-progress'
import { Pool, cpuCount } from 'multiproc'
import { type FileFacts, fileFacts } from './file-facts.ts'

const LINE_INTERVAL_MS = 5_000

interface Run {
  facts: FileFacts[]
  ms: number
}

/** Whether all runs gave the same results. */
export async function compareProcesses(files: readonly string[]): Promise<boolean> {
  const one: Run[] = []
  const two: Run[] = []
  for (let round = 0; round < 2; round++) {
    one.push(await run(files, { processes: 1 }))
    two.push(await run(files, { processes: 2 }))
  }
  const { facts } = one[0]!
  printTotals(facts)
  const oneMs = Math.min(...one.map(({ ms }) => ms))
  const twoMs = Math.min(...two.map(({ ms }) => ms))
  printTime('1 process', oneMs, facts.length)
  printTime('2 processes', twoMs, facts.length)
  console.log(`Speed-up:    ${(oneMs / twoMs).toFixed(2)} (CPUs that this program may use: ${cpuCount()})`)
  const areEqual = [...one, ...two].every(run => isDeepStrictEqual(run.facts, facts))
  console.log(`Results:     ${areEqual ? 'equal' : 'NOT EQUAL'}`)
  return areEqual
}

/** The time includes the start of the processes and their end. */
async function run(files: readonly string[], { processes }: { processes: number }): Promise<Run> {
  const bar = new SingleBar({
    format: `  ${processes} ${processes === 1 ? 'process  ' : 'processes'} {bar} {value}/{total} files, {eta} s left`,
    clearOnComplete: true,
    // Without a terminal: a line now and then.
    noTTYOutput: true,
    notTTYSchedule: LINE_INTERVAL_MS,
  })
  bar.start(files.length, 0)
  const startedAtMs = performance.now()
  const facts: FileFacts[] = []
  const pool = new Pool({ processes })
  for await (const result of pool.imap(fileFacts, files)) {
    facts.push(result)
    bar.update(facts.length)
  }
  pool.close()
  await pool.join()
  const ms = performance.now() - startedAtMs
  bar.stop()
  return { facts, ms }
}

function printTotals(facts: readonly FileFacts[]): void {
  const sum = (field: 'sizeBytes' | 'gzipBytes' | 'words'): number =>
    facts.reduce((total, fact) => total + fact[field], 0)
  const all = createHash('sha256')
  for (const { sha256 } of facts) all.update(sha256)
  const count = (value: number): string => value.toLocaleString('en')
  console.log(`Files:       ${count(facts.length)}`)
  console.log(`Bytes:       ${count(sum('sizeBytes'))}`)
  console.log(`Compressed:  ${count(sum('gzipBytes'))}`)
  console.log(`Words:       ${count(sum('words'))}`)
  console.log(`SHA-256 of all SHA-256: ${all.digest('hex')}`)
}

function printTime(label: string, ms: number, fileCount: number): void {
  const perSecond = fileCount / (ms / 1000)
  console.log(`${label.padEnd(12)} ${(ms / 1000).toFixed(2)} s, ${perSecond.toFixed(0)} files/s`)
}
