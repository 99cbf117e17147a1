/** Refuses options that a call does not have: a misspelt one would otherwise be ignored in silence. */
import { invalidArgument } from '../errors.ts'

/** @throws TypeError when `value` is no object, or has a key that is not in `known`. */
export function assertKnownOptions(name: string, value: unknown, known: readonly string[]): void {
  if (value === undefined) return
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidArgument(
      TypeError,
      `The options of ${name} must be an object, but they are ${kindOf(value)}\nTo fix: ${optionsInstead(known[0] === 'timeout' ? value : undefined, known[0])}`,
    )
  }
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue
    throw invalidArgument(TypeError, `${name} has no option "${key}"\nTo fix: ${optionInstead(key, known)}`)
  }
}

/** The text that says how to write an option: the one that is spelt like it, as Python's `max_workers`, or them all. */
export function optionInstead(key: string, known: readonly string[]): string {
  const meant = known.find(option => lettersOf(option) === lettersOf(key))
  if (meant !== undefined) return `write "${meant}"`
  return `use one of ${known.map(option => `"${option}"`).join(', ')}`
}

function lettersOf(name: string): string {
  return name.replaceAll(/[_-]/g, '').toLowerCase()
}

/** The text that says how to write options, for who passed something else, as Python's `acquire(False)`. */
export function optionsInstead(given: unknown, first = 'timeout'): string {
  if (first !== 'timeout') return `pass { ${first}: ${typeof given === 'number' ? given : '...'} }`
  if (given === false) return 'pass { timeout: 0 }, which does not wait'
  if (typeof given === 'number') return `pass { timeout: ${given} }, in milliseconds`
  return 'pass { timeout: ... }'
}

/** What something is, with its article. */
export function kindOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`
}
