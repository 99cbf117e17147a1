/**
 * What this program tells of its pools to those who watch it. Invariant: while nobody watches, no pool notes anything for
 * it; each watcher gets every span and every count once, however many others look meanwhile; and what a watcher does not
 * fetch is bounded.
 */
import { relative } from 'node:path'
import { inspectedTables } from '../insights/inspected-tables.ts'
import { residentBytes } from '../platform/own-memory.ts'
import { workingDirectory } from '../platform/working-directory.ts'
import { failureLog } from '../pool/failure-log.ts'
import { type LivePool, livePools, observePools } from '../pool/live-pools.ts'
import { PoolCore } from '../pool/pool-core.ts'
import { type PoolSnapshot, PoolProbe } from '../pool/pool-snapshot.ts'
import {
  type InspectedPool,
  type ProgramHello,
  type ProgramSnapshot,
  type SpanTuple,
  PROTOCOL_VERSION,
} from './inspection-protocol.ts'

/** Of one pool, for one watcher. More are dropped, the oldest first. */
const spansMax = 4000
const endedPoolsMax = 16
const poolsMax = 200
const commandCharactersMax = 300

/** What a watcher has not fetched of one pool. */
interface Pending {
  spans: SpanTuple[]
  times: Map<number, number>
}

/** Somebody who looks again and again. */
export interface ProgramWatch {
  look(failuresAfter: number): ProgramSnapshot
  end(): void
}

export class ProgramInspector {
  readonly #probes = new Map<PoolCore, PoolProbe>()
  readonly #numbers = new WeakMap<PoolCore, number>()
  readonly #watches = new Set<Watch>()
  #poolCount = 0
  #stopObserving: (() => void) | undefined

  /** What it is, for those who have several to choose from. */
  hello(): ProgramHello {
    const [, script = '', ...args] = process.argv
    const directory = workingDirectory()
    const shortest = directory === undefined ? script : relative(directory, script)
    return {
      type: 'hello',
      protocol: PROTOCOL_VERSION,
      pid: process.pid,
      command: ['node', shortest.startsWith('..') ? script : shortest, ...args]
        .filter(Boolean)
        .join(' ')
        .slice(0, commandCharactersMax),
      node: process.version,
      startedAtMs: performance.timeOrigin,
    }
  }

  /** `onChange`: something happened that the watcher wants to know now, because there may be no later. */
  watch(onChange?: () => void): ProgramWatch {
    const watch: Watch = { pending: new Map(), ended: [], onChange }
    this.#watches.add(watch)
    if (!this.#stopObserving) this.#begin()
    return {
      look: failuresAfter => this.#look(watch, failuresAfter),
      end: () => {
        this.#watches.delete(watch)
        if (this.#watches.size === 0) this.#end()
      },
    }
  }

  #begin(): void {
    for (const pool of livePools()) this.#add(pool)
    this.#stopObserving = observePools({
      opened: pool => this.#add(pool),
      ended: pool => this.#remove(pool),
    })
  }

  #end(): void {
    this.#stopObserving?.()
    this.#stopObserving = undefined
    for (const probe of this.#probes.values()) probe.end()
    this.#probes.clear()
  }

  #add(pool: LivePool): void {
    if (!(pool instanceof PoolCore) || this.#probes.size >= poolsMax) return
    let number = this.#numbers.get(pool)
    if (number === undefined) this.#numbers.set(pool, (number = ++this.#poolCount))
    this.#probes.set(pool, new PoolProbe(pool, number))
  }

  /** A pool has ended: everybody gets its last numbers. */
  #remove(pool: LivePool): void {
    if (!(pool instanceof PoolCore)) return
    const probe = this.#probes.get(pool)
    if (!probe) return
    const snapshot = this.#probe(probe)
    probe.end()
    this.#probes.delete(pool)
    for (const watch of this.#watches) {
      watch.ended.push(fetch(watch, snapshot))
      watch.pending.delete(snapshot.number)
      if (watch.ended.length > endedPoolsMax) watch.ended.shift()
      watch.onChange?.()
    }
  }

  #look(watch: Watch, failuresAfter: number): ProgramSnapshot {
    const pools = [...this.#probes.values()].map(probe => fetch(watch, this.#probe(probe)))
    const { user, system } = process.cpuUsage()
    const { active, idle } = performance.eventLoopUtilization()
    return {
      type: 'snapshot',
      atMs: Date.now(),
      processorMs: (user + system) / 1000,
      loopActiveMs: active,
      loopIdleMs: idle,
      memoryBytes: residentBytes(),
      pools,
      endedPools: watch.ended.splice(0),
      failures: failureLog.after(failuresAfter),
      failureCount: failureLog.count,
      tables: inspectedTables(),
    }
  }

  /** What a look takes out of the pool goes to everybody who watches. */
  #probe(probe: PoolProbe): PoolSnapshot {
    const snapshot = probe.look()
    const spans: SpanTuple[] = []
    for (const [workerName, ofWorker] of snapshot.spans) {
      for (const { functionName, startMs, endMs, tasks, failed, index = -1 } of ofWorker) {
        spans.push([workerName, functionName, tenths(startMs), tenths(endMs - startMs), tasks, failed, index])
      }
    }
    for (const { pending } of this.#watches) {
      let own = pending.get(snapshot.number)
      if (!own) pending.set(snapshot.number, (own = { spans: [], times: new Map() }))
      own.spans.push(...spans)
      if (own.spans.length > spansMax) own.spans.splice(0, own.spans.length - spansMax)
      for (const [step, tasks] of snapshot.times) own.times.set(step, (own.times.get(step) ?? 0) + tasks)
    }
    return snapshot
  }
}

interface Watch {
  pending: Map<number, Pending>
  ended: InspectedPool[]
  onChange: (() => void) | undefined
}

function fetch({ pending }: Watch, snapshot: PoolSnapshot): InspectedPool {
  const own = pending.get(snapshot.number)
  pending.delete(snapshot.number)
  return { ...snapshot, times: [...(own?.times ?? [])], spans: own?.spans ?? [] }
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}

let inspector: ProgramInspector | undefined

/** That of this program. */
export function programInspector(): ProgramInspector {
  return (inspector ??= new ProgramInspector())
}
