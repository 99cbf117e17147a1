/**
 * Bounds what functions may drag along through their captured variables. A closure that reaches a whole framework is
 * a mistake that should be an error, not a second of copying per task. Data that the caller passes is not counted.
 */
import { SerializeError } from '../../errors.ts'
import type { Trail } from './trail.ts'

export const nodesMax = 20_000
export const bytesMax = 4 * 1024 * 1024

/** What an object costs beside its contents. */
const nodeBytes = 32

export class PayloadLimit {
  private readonly weights: { trail: Trail; bytes: number }[] = []
  private nodes = 0
  private bytes = 0

  /** Counts an object; throws when it was one too many. */
  addNode(trail: Trail): void {
    if (!trail.isCaptured) return
    this.weights.push({ trail, bytes: nodeBytes })
    this.add(nodeBytes)
    if (++this.nodes > nodesMax) throw this.error()
  }

  /** Counts the contents of an object. */
  addBytes(trail: Trail, bytes: number): void {
    if (!trail.isCaptured) return
    if (bytes > nodeBytes) this.weights.push({ trail, bytes })
    this.add(bytes)
  }

  private add(bytes: number): void {
    this.bytes += bytes
    if (this.bytes > bytesMax) throw this.error()
  }

  private error(): SerializeError {
    const path = this.heaviestPath()
    const [root = 'the value', ...rest] = path
    const what =
      this.bytes > bytesMax
        ? `more than ${bytesMax / 1024 / 1024} MB`
        : `more than ${nodesMax.toLocaleString('en')} objects`
    return new SerializeError(
      `Cannot send ${root} to another process: with its captured variables it is ${what}, most of it through ` +
        `${rest.join(' -> ') || 'itself'}\n` +
        'To fix: pass data as arguments, and import large modules instead of capturing what they hold',
      { path },
    )
  }

  /** Goes down from the root as long as one step leads to more than half of everything. */
  private heaviestPath(): string[] {
    const ways = this.weights.map(({ trail, bytes }) => ({ steps: trail.steps(), bytes }))
    const total = ways.reduce((sum, { bytes }) => sum + bytes, 0)
    const path: string[] = []
    for (let depth = 0; depth < 8; depth++) {
      const weights = new Map<string, number>()
      for (const { steps, bytes } of ways) {
        const step = steps[depth]
        if (step === undefined || !path.every((part, index) => steps[index] === part)) continue
        weights.set(step, (weights.get(step) ?? 0) + bytes)
      }
      const [heaviest] = [...weights].sort(([, a], [, b]) => b - a)
      if (!heaviest || (heaviest[1] < total / 2 && depth > 1)) break
      path.push(heaviest[0])
    }
    return path
  }
}
