/** Checks that several groups of options have in common: each error names the option, its range and the value. */
import { invalidArgument } from '../errors.ts'

/** A whole number; `undefined` where there is none. */
export function checkCount(
  name: string,
  value: unknown,
  { min = 1, max = Infinity }: { min?: number; max?: number } = {},
): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number') {
    throw invalidArgument(
      TypeError,
      `The option "${name}" must be a whole number from ${min}, but it is ${show(value)}\nTo fix: pass a number`,
    )
  }
  if (!Number.isInteger(value) || value < min) {
    throw invalidArgument(
      RangeError,
      `The option "${name}" must be a whole number from ${min}, but it is ${value}\nTo fix: pass such a number, or leave "${name}" out`,
    )
  }
  if (value > max) {
    throw invalidArgument(
      RangeError,
      `The option "${name}" must be at most ${max}, but it is ${value}\nTo fix: pass a smaller number`,
    )
  }
  return value
}

/** `Infinity` is no limit, also where the pool has one. */
export function checkMilliseconds(name: string, value: unknown, min: number): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && value >= min) return value
  throw invalidArgument(
    typeof value === 'number' ? RangeError : TypeError,
    `The option "${name}" must be a number of milliseconds from ${min} on, but it is ${typeof value === 'number' ? value : `of the type ${typeof value}`}\nTo fix: pass such a number, or leave "${name}" out`,
  )
}

/** A value in a message: what it is, and not what is in it. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'string') return JSON.stringify(value)
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
