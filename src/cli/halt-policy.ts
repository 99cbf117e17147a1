/** When a run stops because inputs fail, as GNU parallel's `--halt` says it. Pure. */
import { UsageError } from './usage-error.ts'

export interface HaltPolicy {
  /** `soon`: no input is begun any more; `now`: those that run are stopped, too. */
  when: 'never' | 'soon' | 'now'
  /** So many failures, or per cent of the finished inputs. */
  failuresMin: number
  isPercent: boolean
}

/** A part of few says nothing: a share is looked at from so many failures on, as GNU parallel does. */
const FAILURES_OF_SHARE_MIN = 3

export const NEVER_HALT: HaltPolicy = { when: 'never', failuresMin: Infinity, isPercent: false }

/** Reads `never`, `soon`, `now,fail=3`, `soon,fail=10%`. */
export function parseHaltPolicy(text: string): HaltPolicy {
  const [, when, count, percent] = /^(never|soon|now)(?:,fail=(\d+)(%)?)?$/.exec(text) ?? []
  const failuresMin = count === undefined ? 1 : Number(count)
  const isPercent = percent !== undefined
  const isSensible =
    when === 'never'
      ? count === undefined
      : when !== undefined && failuresMin >= 1 && (!isPercent || failuresMin <= 100)
  if (!isSensible) {
    throw new UsageError(
      `--halt must be never, soon or now, the latter two with a number of failures or per cent of the inputs if you like, but it is "${text}"\nTo fix: pass, for instance, --halt soon, --halt now,fail=3 or --halt soon,fail=10%`,
    )
  }
  return when === 'never' ? NEVER_HALT : { when: when as 'soon' | 'now', failuresMin, isPercent }
}

/** Whether it is time to stop, when so many inputs have failed of so many that are finished. */
export function isHalt(
  { when, failuresMin, isPercent }: HaltPolicy,
  { failed, finished }: { failed: number; finished: number },
): boolean {
  if (when === 'never' || failed === 0) return false
  if (!isPercent) return failed >= failuresMin
  return failed >= FAILURES_OF_SHARE_MIN && failed * 100 >= failuresMin * finished
}
