/**
 * Lets the copies of a class in this process be one, wherever nobody could tell them apart: a class that came with one
 * function is then the class of the instances that come with another. Copies are shared only when everything that they
 * depend on is the same and can't change, so that no function sees captured variables of another call.
 */
import { isReference, type FunctionNode, type Graph, type Slot } from './graph-node.ts'

/** The classes that a function brought along, by their ids: what else is decoded for it uses them. */
export type ClassScope = Map<string, Function>

interface Shared {
  signature: string
  copy: WeakRef<Function>
}

const sharedCopies = new Map<string, Shared>()
const forgotten = new FinalizationRegistry<string>(id => {
  if (sharedCopies.get(id)?.copy.deref() === undefined) sharedCopies.delete(id)
})

/** The copy of this class that is here already, if it has the same signature. */
export function sharedCopyOf(id: string, signature: string): Function | undefined {
  const shared = sharedCopies.get(id)
  return shared?.signature === signature ? shared.copy.deref() : undefined
}

export function shareCopy(id: string, signature: string, copy: Function): void {
  sharedCopies.set(id, { signature, copy: new WeakRef(copy) })
  forgotten.register(copy, id)
}

const stateless: ReadonlySet<string> = new Set([
  'builtin',
  'import',
  'require',
  'import-function',
  'import-meta',
  'private-hook',
])

/**
 * Describes everything that a class of a payload depends on. `undefined` when some of it may change: captured objects
 * and assigned variables, static fields, members that were added to it.
 */
export function signatureOf(graph: Graph, root: number): string | undefined {
  const parts: unknown[] = []
  const seen = new Map<number, number>()
  const pending = [root]
  const describe = (slot: Slot): unknown => {
    if (!isReference(slot))
      return typeof slot === 'bigint' ? { bigint: String(slot) } : [typeof slot, String(slot)]
    const [index] = slot
    let place = seen.get(index)
    if (place === undefined) {
      place = seen.size
      seen.set(index, place)
      pending.push(index)
    }
    return { place }
  }
  seen.set(root, 0)
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    const node = graph.nodes[index]
    if (!node) return undefined
    if (stateless.has(node.t)) {
      const module = node.t === 'import' ? graph.modules[node.module] : undefined
      parts.push([seen.get(index), { ...node, module }])
      continue
    }
    if (node.t !== 'function' || !isFixed(node)) return undefined
    const { source, classId, variables } = node
    parts.push([
      seen.get(index),
      classId,
      source,
      variables.map(({ name, value }) => [name, describe(value)]),
    ])
  }
  return JSON.stringify(parts)
}

/** Whether a function is no more than its text and constants. */
function isFixed(node: FunctionNode): boolean {
  return (
    node.properties === undefined &&
    node.prototype === undefined &&
    node.extensibility === undefined &&
    node.prototypeNode === undefined &&
    node.privateStatics === undefined &&
    node.variables.every(({ isAssigned }) => !isAssigned)
  )
}
