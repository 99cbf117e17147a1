/** A class as a payload of its own, for a codec that sends the plain instances of a class by itself. */
import { builtinName } from './builtin-names.ts'
import { encodeGraph } from './graph-encoder.ts'
import type { Graph } from './graph-node.ts'
import type { GraphPayload } from './module-reference.ts'
import { cachedPayload } from './payload-cache.ts'
import { hasPrivateMembers } from './private-state.ts'

export interface ClassDescription {
  payload: GraphPayload
  /** The payload stays the same: the class is imported by others, or captures nothing. */
  cacheable: boolean
  /** Instances have private members, so that only `encodeGraph()` can send them. */
  hasPrivateFields: boolean
}

/** Describes a class or constructor function; throws a `SerializeError` when it can't be sent. */
export function describeClass(type: Function): ClassDescription {
  const payload = encodeGraph(type)
  const { nodes } = payload.body as Graph
  const cacheable = cachedPayload(type) === payload && nodes.length === 1
  let hasPrivateFields = false
  for (let parent: unknown = type; typeof parent === 'function'; parent = Object.getPrototypeOf(parent)) {
    if (builtinName(parent)) break
    if (hasPrivateMembers(parent)) hasPrivateFields = true
  }
  return { payload, cacheable, hasPrivateFields }
}
