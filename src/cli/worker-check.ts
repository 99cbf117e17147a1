/** Starts one worker of a start method, and asks it things, to see whether and how fast it answers. */
import { Pool } from '../pool/pool.ts'
import type { StartMethod } from '../process/child-boot.ts'

/** A worker that has not answered by then is broken, on any machine. */
const ANSWER_MS_MAX = 30_000

/** What became of the worker. */
export interface WorkerCheck {
  method: StartMethod
  /** Milliseconds from `new Pool()` to the first answer; undefined when none came. */
  firstAnswerMs: number | undefined
  /** Milliseconds of one more task; undefined when none was answered. */
  roundTripMs: number | undefined
  /** Whether a function arrived together with a variable that it captures. */
  hasClosures: boolean
  /** What went wrong, in full. */
  error: string | undefined
}

/** Given to a worker by reference. */
export function answer(question: number): number {
  return question + 1
}

export async function checkWorker(method: StartMethod): Promise<WorkerCheck> {
  const check: WorkerCheck = {
    method,
    firstAnswerMs: undefined,
    roundTripMs: undefined,
    hasClosures: false,
    error: undefined,
  }
  let pool: Pool | undefined
  try {
    const startedAtMs = performance.now()
    pool = new Pool({ processes: 1, context: method, name: 'multiproc doctor' })
    await ask(pool)
    check.firstAnswerMs = performance.now() - startedAtMs
    const askedAtMs = performance.now()
    await ask(pool)
    check.roundTripMs = performance.now() - askedAtMs
    const captured = Math.random()
    check.hasClosures = (await pool.apply(() => captured).get({ timeout: ANSWER_MS_MAX })) === captured
  } catch (error) {
    check.error = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  } finally {
    await pool?.terminate()
  }
  return check
}

async function ask(pool: Pool): Promise<void> {
  const question = Math.floor(Math.random() * 1e6)
  const answered = await pool.apply(answer, [question]).get({ timeout: ANSWER_MS_MAX })
  if (answered !== question + 1) throw new Error(`The worker answered ${answered} to ${question}`)
}
