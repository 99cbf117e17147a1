/**
 * What the process of the soak must not have more of after a round than before: descriptors, children, members and
 * blocks of the heap, files, names. And what must not grow without bound: mappings, memory.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { brokerServes } from '#src/broker/home.js'
import { keeperDoor } from '#src/platform/descriptors.js'
import { nativeAddon } from '#src/platform/native-addon.js'
import { existingHeap, sharedHeap } from '#src/platform/shared-heap.js'
import { childProcesses, openDescriptors } from '../leak-check.js'
import { heapCensus } from './heap-census.js'

/** Much longer than garbage is collected, and processes end, on a machine that is busy with other things, too. */
const LATE_MS_MAX = 35_000
const LOOK_MS = 20
/**
 * Libraries that are loaded late, stacks of threads that libuv and the addon keep, buffers of the heap that are cached,
 * and what malloc keeps for threads that have ended: some hundreds with Node.js 24.
 */
const MAPPINGS_MAX = 2000
/** Of the process itself, without shared memory. V8 collects when it likes. */
const MEMORY_GROWTH_BYTES_MAX = 800 * 2 ** 20
/** What one member keeps warm, twice. */
const IDLE_BYTES_MAX = 128 * 2 ** 20

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

interface Counts {
  descriptors: number
  children: number
  files: number
  names: number
  members: number
  joining: number
  blocks: number
}

export class Resources {
  #before: Counts
  readonly #memoryBefore: number
  readonly #mappingsBefore: number

  /** From here on this process is a member, keeps descriptors on their way, and serves others without the addon. */
  static async begin(): Promise<Resources> {
    assert.ok(sharedHeap().token > 0)
    keeperDoor()
    if (nativeAddon() === undefined) await brokerServes()
    return new Resources()
  }

  private constructor() {
    collectGarbage()
    this.#before = counts()
    this.#memoryBefore = memoryBytes()
    this.#mappingsBefore = mappings()
  }

  /**
   * What there is too much of now, in words; empty when all is well. It waits for what is given back late, a
   * collection of garbage at least.
   */
  async leaks({ waitMs = LATE_MS_MAX }: { waitMs?: number } = {}): Promise<string[]> {
    const giveUpAt = performance.now() + waitMs
    for (;;) {
      collectGarbage()
      // Sleep: collected objects are reported, and the kernel ends processes, when they like.
      await new Promise(resolve => setTimeout(resolve, LOOK_MS))
      existingHeap()?.reap()
      const found = this.#more()
      if (found.length > 0 && performance.now() < giveUpAt) continue
      // It is told once, and not with every round that follows.
      if (found.length > 0) this.#before = counts()
      return [...found, ...this.#grown()]
    }
  }

  #more(): string[] {
    const now = counts()
    return (Object.keys(now) as (keyof Counts)[])
      .filter(name => now[name] > this.#before[name])
      .map(name => `${now[name] - this.#before[name]} ${name} more than before: ${detail(name)}`)
  }

  #grown(): string[] {
    const found: string[] = []
    const memory = memoryBytes() - this.#memoryBefore
    if (memory > MEMORY_GROWTH_BYTES_MAX) found.push(`${memory >> 20} MiB of memory more than before`)
    const mapped = mappings() - this.#mappingsBefore
    if (mapped > MAPPINGS_MAX) found.push(`${mapped} mappings more than before`)
    const { idleBytes } = heapCensus()
    if (idleBytes > IDLE_BYTES_MAX) found.push(`${idleBytes >> 20} MiB of free segments`)
    return found
  }

  /** In one line, for whoever reads along. */
  get summary(): string {
    const { descriptors, members, blocks } = counts()
    const { inFlight, idleBytes } = heapCensus()
    const growth = (memoryBytes() - this.#memoryBefore) / 2 ** 20
    return (
      `descriptors ${descriptors}, members ${members}, blocks ${blocks} (${inFlight} on their way), ` +
      `idle segments ${idleBytes >> 20} MiB, memory ${growth < 0 ? '' : '+'}${growth.toFixed(0)} MiB, mappings ${mappings()}`
    )
  }
}

function counts(): Counts {
  const { members, joining, held } = heapCensus()
  return {
    descriptors: openDescriptors().length,
    children: childProcesses().length,
    files: files().length,
    names: names().length,
    members,
    joining,
    blocks: Object.values(held).reduce((sum, count) => sum + count, 0),
  }
}

function detail(name: keyof Counts): string {
  if (name === 'descriptors') return openDescriptors().join(', ')
  if (name === 'children') return childProcesses().join(', ')
  if (name === 'files') return files().join(', ')
  if (name === 'names') return names().join(', ')
  return JSON.stringify(heapCensus())
}

/** The folder of the sockets by which programs can be looked at is made once, and stays; what is in it does not. */
function files(): string[] {
  return readdirSync(tmpdir()).flatMap(name =>
    name.startsWith('multiproc-inspect') ? readdirSync(join(tmpdir(), name)) : [name],
  )
}

/** Of the shared memory that this run has named. */
function names(): string[] {
  if (!existsSync('/dev/shm')) return []
  return readdirSync('/dev/shm').filter(name => name.includes(`soak-${process.pid}-`))
}

function memoryBytes(): number {
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(/^RssAnon:\s*(\d+) kB$/m.exec(status)![1]) * 1024
}

function mappings(): number {
  return readFileSync('/proc/self/maps', 'utf8').split('\n').length
}
