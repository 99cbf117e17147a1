/**
 * How long the client waits between two attempts to connect to one server. It reckons by the clock of the machine since
 * the last attempt, so that after a clock was set back by hours it would wait for hours. Needed until the client (3.3.1)
 * reckons otherwise. Invariant: a clock that was set back delays no attempt.
 */

/** So many attempts in a row do without a wait: one for each server of a cluster, and some more. */
const attemptsAfterStep = 16

/** @returns what the client calls before each attempt. */
export function reconnectDelay(delayMs: number): () => number {
  let offsetMs = Date.now() - performance.now()
  let stepMs = 0
  let attempts = 0
  return () => {
    const now = Date.now() - performance.now()
    if (offsetMs - now > delayMs) {
      // Servers that were not tried since an earlier step are behind by both.
      stepMs = offsetMs - now + (attempts > 0 ? stepMs : 0)
      attempts = attemptsAfterStep
    }
    offsetMs = now
    if (attempts === 0) return delayMs
    attempts--
    // Less than the step by the whole delay: the last attempt may have been just before it, and the client would ask
    // again and again, without an attempt, until the number is used up.
    return -(stepMs + delayMs)
  }
}
