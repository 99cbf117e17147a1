/**
 * Times of spans. What happens here and what workers report is of the clock that all processes of a machine share; spans
 * have times of day. Invariant: one difference of the two serves a span and all within it, so that these lie inside of it
 * although the time of day may be set meanwhile.
 */
import { monotonicMs } from '../platform/journal.ts'

export class SpanClock {
  readonly #offsetMs = Date.now() - monotonicMs()

  /** Milliseconds since 1970, with fractions. */
  now(): number {
    return this.at(monotonicMs())
  }

  at(ms: number): number {
    return this.#offsetMs + ms
  }
}
