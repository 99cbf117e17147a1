/**
 * The errors for values that are nested more deeply than a stack can follow.
 */
import { SerializeError } from '../errors.ts'

/** The user may call us with little stack left, where even a modest depth overflows. */
export function isStackOverflow(problem: unknown): boolean {
  return problem instanceof RangeError && problem.message.includes('call stack')
}

export function tooDeep(rootName: string | undefined): SerializeError {
  return new SerializeError(
    `Cannot send ${rootName ?? 'the value'}: its objects are nested too deeply\n` +
      'To fix: send it as a flat list and rebuild the nesting on the other side',
    { path: rootName === undefined ? [] : [rootName] },
  )
}
