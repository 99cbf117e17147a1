/**
 * What becomes of a WeakMap or WeakSet in data. Beside code it travels with those entries whose keys travel too, as
 * the private state that it usually is. By itself nobody could ever look anything up in it.
 */
import type { Encoding } from './encoding.ts'

/** @throws {SerializeError} When a weak collection is sent and nothing that could use it. */
export function refuseBareWeakCollections({ nodes, weakCollections }: Encoding): void {
  const [first] = weakCollections
  if (!first || nodes.some(node => node.t === 'function' || node.t === 'import')) return
  const kind = nodes[first.index]?.t === 'weak-map' ? 'WeakMap' : 'WeakSet'
  throw first.trail.error(
    `is a ${kind}, whose entries belong to objects of this process`,
    `send a ${kind.slice('Weak'.length)} whose keys can be sent`,
  )
}
