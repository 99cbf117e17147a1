/**
 * Arguments in a few words, for people. Invariant: no code of the user runs, nothing is thrown, and the time does not
 * depend on how large the value is.
 */
import { describe } from '../serialize/short-description.ts'
import type { CallMode } from './protocol.ts'

const lengthMax = 80
const textMax = 40
const membersMax = 3
const depthMax = 2

/** What a task was called with. */
export function shortForm(item: unknown, mode: CallMode): string {
  try {
    const text = mode === 'arguments' && Array.isArray(item) ? membersOf(item, 0) : shortValue(item, 0)
    return text.length > lengthMax ? `${text.slice(0, lengthMax - 1)}…` : text
  } catch {
    return '…'
  }
}

function shortValue(value: unknown, depth: number): string {
  if (typeof value === 'string') {
    return value.length > textMax ? `${JSON.stringify(value.slice(0, textMax))}…` : JSON.stringify(value)
  }
  if (Array.isArray(value))
    return depth < depthMax ? `[${membersOf(value, depth)}]` : `Array(${value.length})`
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    return `${describe(value).slice(1, -1)} of ${value.byteLength} bytes`
  }
  if (!isPlain(value)) return describe(value)
  return depth < depthMax ? propertiesOf(value, depth) : '{…}'
}

function membersOf(values: readonly unknown[], depth: number): string {
  const shown: string[] = []
  for (let index = 0; index < Math.min(values.length, membersMax); index++) {
    shown.push(shortMember(values, index, depth))
  }
  if (values.length > membersMax) shown.push(`… ${values.length - membersMax} more`)
  return shown.join(', ')
}

function propertiesOf(value: object, depth: number): string {
  const shown: string[] = []
  // Not Object.keys(): an object may have a million.
  for (const key in value) {
    if (shown.length === membersMax) {
      shown.push('…')
      break
    }
    shown.push(`${key}: ${shortMember(value, key, depth)}`)
  }
  return shown.length === 0 ? '{}' : `{ ${shown.join(', ')} }`
}

/** Without calling what is computed when it is read. */
function shortMember(owner: object, key: string | number, depth: number): string {
  const property = Object.getOwnPropertyDescriptor(owner, key)
  return property && !('value' in property) ? '…' : shortValue(property?.value, depth + 1)
}

function isPlain(value: unknown): value is object {
  // What describe() says of a proxy or a plain object is told without running any of their code.
  return typeof value === 'object' && value !== null && describe(value) === '[Object]'
}
