/** What malloc keeps of the copies that a receiver of large data has dropped, and when it gives that back. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const MIB = 1 << 20
const isGlibc = (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header
  .glibcVersionRuntime
const skip = (!sharedHeap().isNative || isGlibc === undefined) && 'needs the addon and glibc'

/** Runs in a process of its own, which has received nothing before: page faults for each MiB, then what came back. */
function program(arena: string): string {
  return `
    const { lend, takeLent } = await import(${JSON.stringify(arena)})
    const data = new Uint8Array(${MIB}).fill(7)
    const receive = () => {
      const loan = lend(data, { isReadOften: false })
      const copy = takeLent(loan.handle, loan.byteLength)
      loan.release()
      return copy
    }
    const round = async () => {
      for (const copies = []; copies.length < 50; await new Promise(setImmediate)) copies.push(receive())
    }
    for (let count = 0; count < 10; count++) await round()
    const before = process.resourceUsage().minorPageFault
    for (let count = 0; count < 10; count++) await round()
    const faults = (process.resourceUsage().minorPageFault - before) / 500
    const held = Array.from({ length: 120 }, receive)
    // Before they are freed: that happens in a thread, and some of it may go back at once.
    const most = process.memoryUsage.rss()
    held.length = 0
    gc()
    // Sleep: what goes back after some idle time is told by no event.
    while (process.memoryUsage.rss() > most - 30 * ${MIB}) await new Promise(resolve => setTimeout(resolve, 20))
    console.log(JSON.stringify({ faults }))`
}

test(
  'who receives large data does not pay for fresh pages each time, and gives back what it kept',
  { skip },
  () => {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [
        '--expose-gc',
        '--input-type=module',
        '--eval',
        program(import.meta.resolve('#src/platform/arena.js')),
      ],
      { encoding: 'utf8', timeout: 90_000 },
    )
    assert.ok(stdout !== '', `nothing went back: ${stderr}`)
    const { faults } = JSON.parse(stdout) as { faults: number }
    // Some 60 of the 256 pages of a copy were fresh ones without it, and all of them where nothing is ever kept.
    assert.ok(faults < 30, `${faults} page faults for each MiB`)
  },
)
