/**
 * Which kinds of work no agent of a pool can do, and for how long that has been so. Invariant: work that nobody can do
 * fails after its time, also what of the same call is sent after that, and other work is not concerned.
 */
import { ClusterError } from '../errors.ts'
import type { Machine } from '../pool/elsewhere.ts'
import { slotsAmong } from '../pool/elsewhere.ts'
import { type Requirements, describeOffer, describeRequirements } from '../pool/requirements.ts'
import type { SentChunk } from './sent-chunk.ts'

/** What follows so soon belongs to what has failed. */
const followsMs = 2000
const offersShownMax = 5

interface Unmet {
  readonly sinceMs: number
  /** When something of it has failed last. */
  failedAtMs: number
}

export class UnmetRequirements {
  readonly #msMax: number
  readonly #unmet = new Map<string, Unmet>()

  constructor(msMax: number) {
    this.#msMax = msMax
  }

  /**
   * Takes note of the work that waits. Gives what nobody has been able to do for too long, each with its error, and for
   * what nobody is there since `warnAfterMs`.
   */
  look(
    chunks: Iterable<SentChunk>,
    { machines, pool, warnAfterMs }: { machines: readonly Machine[]; pool: string; warnAfterMs: number },
  ): { failed: [SentChunk, ClusterError][]; late: Requirements[] } {
    const nowMs = performance.now()
    const failed: [SentChunk, ClusterError][] = []
    const late: Requirements[] = []
    const seen = new Set<string>()
    for (const chunk of chunks) {
      const { requires } = chunk
      if (!requires || slotsAmong(machines, requires) > 0) continue
      const key = keyOf(chunk)
      seen.add(key)
      const unmet = this.#unmet.get(key) ?? { sinceMs: nowMs, failedAtMs: -Infinity }
      this.#unmet.set(key, unmet)
      const forMs = nowMs - unmet.sinceMs
      if (forMs > this.#msMax) {
        unmet.failedAtMs = nowMs
        failed.push([chunk, this.#errorFor(requires, machines, pool)])
      } else if (forMs > warnAfterMs) late.push(requires)
    }
    for (const [key, { failedAtMs }] of this.#unmet)
      if (!seen.has(key) && nowMs - failedAtMs > followsMs) this.#unmet.delete(key)
    return { failed, late }
  }

  /** Why a chunk that is to be sent now has failed already, because it belongs to what has. */
  failureOf(
    chunk: SentChunk,
    { machines, pool }: { machines: readonly Machine[]; pool: string },
  ): ClusterError | undefined {
    const { requires } = chunk
    const unmet = requires && this.#unmet.get(keyOf(chunk))
    if (!unmet || performance.now() - unmet.failedAtMs > followsMs) return undefined
    if (slotsAmong(machines, requires) > 0) return undefined
    unmet.failedAtMs = performance.now()
    return this.#errorFor(requires, machines, pool)
  }

  #errorFor(requires: Requirements, machines: readonly Machine[], pool: string): ClusterError {
    return new ClusterError(
      'ERR_CLUSTER_NO_AGENTS',
      `No agent of the pool "${pool}" has what a task requires (${describeRequirements(requires)}) for ${this.#msMax} ms, so it was not run. They have: ${offersOf(machines)}\nTo fix: start an agent that has it (multiproc worker --pool ${pool} ${flagsFor(requires)}), or ask for what there is`,
    )
  }
}

/** Work of one function has one time to wait. */
function keyOf({ requires, head }: SentChunk): string {
  return `${head.functionId} ${requires!.key}`
}

function offersOf(machines: readonly Machine[]): string {
  const kinds = [...new Set(machines.map(describeOffer))]
  const more = kinds.length > offersShownMax ? `; and ${kinds.length - offersShownMax} others` : ''
  return `${kinds.slice(0, offersShownMax).join('; ')}${more}`
}

function flagsFor({ labels, resources }: Requirements): string {
  return [
    ...Object.entries(labels).map(([name, [first]]) => `--label ${name}=${first}`),
    ...Object.entries(resources).map(([name, amount]) => `--resource ${name}=${Math.ceil(amount)}`),
  ].join(' ')
}
