/** Options such as `--label zone=eu --label gpu=a100`: a name and a value each. */
import { UsageError } from './usage-error.ts'

/** What was given, by name; `undefined` for nothing. @throws UsageError. */
export function parsePairs(
  option: string,
  given: readonly string[] | undefined,
): Record<string, string> | undefined {
  if (given === undefined) return undefined
  const pairs = new Map<string, string>()
  for (const text of given.flatMap(each => each.split(','))) {
    const at = text.indexOf('=')
    const name = text.slice(0, at)
    if (at < 1 || at === text.length - 1) {
      throw new UsageError(
        `--${option} must be a name and a value, but it is "${text}"\nTo fix: pass --${option} name=value, and the option again for another one`,
      )
    }
    if (pairs.has(name)) {
      throw new UsageError(`--${option} has "${name}" twice\nTo fix: leave one of them out`)
    }
    pairs.set(name, text.slice(at + 1))
  }
  return Object.fromEntries(pairs)
}
