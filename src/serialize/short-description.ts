/**
 * A few words for any value, without running code of the user and without ever throwing.
 */
import { inspect, types } from 'node:util'

const LENGTH_MAX = 200

export function describe(value: unknown): string {
  try {
    if (typeof value === 'function') return `[Function ${dataName(value) ?? 'anonymous'}]`
    if (types.isProxy(value)) return '[Proxy]'
    if (typeof value === 'object' && value !== null) {
      const prototype: object | null = Object.getPrototypeOf(value)
      const constructor: unknown =
        prototype === null ? undefined : Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
      const name = typeof constructor === 'function' ? dataName(constructor) : undefined
      return `[${name ?? 'object'}]`
    }
    const text = typeof value === 'symbol' ? String(value) : inspect(value)
    return text.length > LENGTH_MAX ? `${text.slice(0, LENGTH_MAX)}...` : text
  } catch {
    return '[a value that cannot be described]'
  }
}

function dataName(value: object): string | undefined {
  const name: unknown = Object.getOwnPropertyDescriptor(value, 'name')?.value
  return typeof name === 'string' && name !== '' ? name : undefined
}
