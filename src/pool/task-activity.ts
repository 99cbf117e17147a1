/**
 * When the workers of a pool worked, and how long tasks took, while somebody watches. It is told once for a message of a
 * worker and never for a task. Invariant: what nobody fetches stays small, because pieces of work that are too short to
 * be seen apart become one, and so do all that are too many.
 */
import type { Chunk } from './chunk.ts'

/** A piece of time in which a worker ran tasks of one function. */
export interface TaskSpan {
  functionName: string
  /** In milliseconds since 1970. */
  startMs: number
  endMs: number
  tasks: number
  failed: number
  /** Index of the item, of one task alone. */
  index: number | undefined
}

/** A chunk keeps a worker busy for some 5 ms: what is as short is drawn together with its neighbours. */
const shortMs = 8
/** Apart by no more than this, and drawn together. */
const gapMs = 4
const joinedMsMax = 100
/** Of one worker, between two looks. More become one. */
const spansMax = 120
const workersMax = 4096

/** Times are counted in steps of an eighth of an octave, from a microsecond to a day. */
const stepsPerOctave = 8
const stepsMax = 320

export class TaskActivity {
  #spans = new Map<string, TaskSpan[]>()
  #times = new Map<number, number>()

  /** Some tasks of a worker have ended just now. */
  ran(
    workerName: string,
    chunk: Chunk,
    { count, elapsedMs, hasFailed = false }: { count: number; elapsedMs: number; hasFailed?: boolean },
  ): void {
    const functionName = chunk.task.name
    const step = stepOf(elapsedMs / count)
    this.#times.set(step, (this.#times.get(step) ?? 0) + count)
    const endMs = performance.timeOrigin + performance.now()
    let startMs = endMs - elapsedMs
    let spans = this.#spans.get(workerName)
    if (!spans) {
      if (this.#spans.size >= workersMax) return
      this.#spans.set(workerName, (spans = []))
    }
    const last = spans.at(-1)
    // What was computed before its results were sent together is told late: it did not overlap what came before.
    if (last && startMs < last.endMs) startMs = Math.min(last.endMs, endMs)
    const isShort =
      last !== undefined &&
      last.functionName === functionName &&
      elapsedMs < shortMs &&
      (last.tasks > 1 || last.endMs - last.startMs < shortMs) &&
      startMs - last.endMs < gapMs &&
      endMs - last.startMs < joinedMsMax
    if (last && (isShort || spans.length >= spansMax)) {
      last.endMs = endMs
      last.tasks += count
      last.failed += Number(hasFailed)
      last.index = undefined
      return
    }
    spans.push({
      functionName,
      startMs,
      endMs,
      tasks: count,
      failed: Number(hasFailed),
      index: count === 1 && !chunk.parts[0]!.job.isSingle ? chunk.at(chunk.received).first : undefined,
    })
  }

  /** What happened since the last time, which is forgotten with it: spans by worker, and tasks by the step of their time. */
  take(): { spans: Map<string, TaskSpan[]>; times: [step: number, tasks: number][] } {
    const taken = { spans: this.#spans, times: [...this.#times] }
    this.#spans = new Map()
    this.#times = new Map()
    return taken
  }
}

function stepOf(ms: number): number {
  const step = Math.round(Math.log2(Math.max(ms, 0.001) * 1000) * stepsPerOctave)
  return Math.min(stepsMax, Math.max(0, step))
}

/** The time in milliseconds that a step stands for. */
export function msOfStep(step: number): number {
  return 2 ** (step / stepsPerOctave) / 1000
}
