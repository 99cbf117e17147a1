/**
 * Objects that the decoder makes in place of something that belongs to a process or module: `require`, `import.meta`,
 * a variable that throws. They remember their node, so that they travel on as what they stand for.
 */
import type { GraphNode } from './graph-node.ts'

const nodes = new WeakMap<object, GraphNode>()

export function rememberStandIn<T extends object>(value: T, node: GraphNode): T {
  nodes.set(value, node)
  return value
}

/** The node that a stand-in was made from. */
export function standInNode(value: object): GraphNode | undefined {
  return nodes.get(value)
}
