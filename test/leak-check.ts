/**
 * What every test file with children ends with: no child process, no descriptor and no active handle is left that
 * was not there before. And the deadline of every test: when none of a file ends within it, everything that is known
 * is printed and the file fails, so that a hang is never silent, and a busy machine is not taken for one.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { after, afterEach, before } from 'node:test'
import { activeChildren } from 'multiproc'
import { keeperDoor } from '#src/platform/descriptors.js'
import { brokerServes } from '#src/broker/home.js'
import { sharedHeap } from '#src/platform/shared-heap.js'

/** Less than scripts/test.mjs gives a whole file, since it knows less when it has to kill one. */
const TEST_MS_MAX = 100_000
const CLEANUP_MS_MAX = 10_000
/** For the results of the tests to leave this process when it must be ended. */
const REPORT_MS_MAX = 2000

/** Processes whose parent is this one, with their command lines. */
export function childProcesses(): string[] {
  if (!existsSync('/proc/self/stat')) return []
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(pid => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
        const [state, parentPid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        if (Number(parentPid) !== process.pid) return []
        return [`${pid} ${state} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')}`]
      } catch {
        return []
      }
    })
}

/** Whether a process runs; one that only waits to be reaped does not. */
export function isRunning(pid: number): boolean {
  try {
    // Windows has no processes that wait to be reaped.
    if (process.platform === 'win32') return process.kill(pid, 0)
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !['Z', 'X'].includes(stat.slice(stat.lastIndexOf(')') + 2)[0]!)
  } catch {
    return false
  }
}

/** The open descriptors of this process, as "number -> what". */
export function openDescriptors(): string[] {
  if (!existsSync('/proc/self/fd')) return []
  return readdirSync('/proc/self/fd').flatMap(fd => {
    try {
      return [`${fd} -> ${readlinkSync(`/proc/self/fd/${fd}`)}`]
    } catch {
      return []
    }
  })
}

/** Turns the event loop until `isDone()`; the deadline of the file ends a wait that never does. */
export async function eventually(isDone: () => boolean): Promise<void> {
  // Sleep: other processes and the kernel tell of some ends through no event, so they are looked at again and again.
  while (!isDone()) await new Promise(resolve => setTimeout(resolve, 2))
}

function activeHandles(): string[] {
  return process
    .getActiveResourcesInfo()
    .filter(name => !['Timeout', 'Immediate', 'TTYWrap', 'CloseReq'].includes(name))
}

function notIn(before: readonly string[], now: readonly string[]): string[] {
  const rest = [...before]
  return now.filter(item => {
    const index = rest.indexOf(item)
    if (index >= 0) rest.splice(index, 1)
    return index < 0
  })
}

/** Call it once, at the top of a test file. */
export function checkLeaks(): void {
  let descriptors: string[] = []
  let handles: string[] = []
  let deadline: NodeJS.Timeout
  before(async () => {
    // The first child with a pipe makes libuv open what it keeps (a spare descriptor).
    const [command, ...args] = process.platform === 'win32' ? [process.execPath, '--version'] : ['true']
    const first = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    first.stdout.resume()
    await once(first, 'close')
    // What this program shares with its children is kept to its end: their memory, the keeper of descriptors, the broker.
    if (!sharedHeap().isNative) await brokerServes()
    keeperDoor()
    descriptors = openDescriptors()
    handles = activeHandles()
    deadline = setTimeout(() => {
      console.error(`No test of ${process.argv[1]} has ended for ${TEST_MS_MAX} ms`)
      console.error({ activeChildren: activeChildren(), childProcesses: childProcesses() })
      console.error({ descriptors: openDescriptors(), handles: process.getActiveResourcesInfo() })
      for (const line of childProcesses()) process.kill(parseInt(line), 'SIGKILL')
      process.exit(1)
    }, TEST_MS_MAX)
    deadline.unref()
  })
  afterEach(() => void deadline.refresh())
  after(async () => {
    const leaks = (): Record<string, string[]> => ({
      children: childProcesses(),
      descriptors: notIn(descriptors, openDescriptors()),
      handles: notIn(handles, activeHandles()),
    })
    const none = { children: [], descriptors: [], handles: [] }
    const isClean = (): boolean => Object.values(leaks()).every(list => list.length === 0)
    const giveUpAt = Date.now() + CLEANUP_MS_MAX
    await eventually(() => isClean() || Date.now() > giveUpAt)
    clearTimeout(deadline)
    // What a failed test left would keep this file running until it is killed, which hides what failed.
    if (!isClean()) setTimeout(() => process.exit(1), REPORT_MS_MAX).unref()
    assert.deepEqual(leaks(), none)
    assert.deepEqual(activeChildren(), [])
  })
}
