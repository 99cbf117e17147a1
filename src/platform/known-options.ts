/** Refuses options that a call does not have: a misspelt one would otherwise be ignored in silence. */
import { invalidArgument } from '../errors.ts'

/** @throws TypeError when `value` is no object, or has a key that is not in `known`. */
export function assertKnownOptions(name: string, value: unknown, known: readonly string[]): void {
  if (value === undefined) return
  if (typeof value !== 'object' || value === null) {
    throw invalidArgument(
      TypeError,
      `The options of ${name} must be an object, but they are ${value === null ? 'null' : `a ${typeof value}`}\nTo fix: pass { ${known[0]}: ... }`,
    )
  }
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue
    throw invalidArgument(
      TypeError,
      `${name} has no option "${key}"\nTo fix: use one of ${known.map(option => `"${option}"`).join(', ')}`,
    )
  }
}
