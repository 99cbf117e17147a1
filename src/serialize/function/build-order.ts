/**
 * The order in which things that can't be made empty and filled later (functions above all) have to be built. Where
 * such things need each other, those needed at once come first, and the others are handed in when they exist.
 */

/** What building a node needs: `first` before it is built, `later` at any time. */
export interface Needs {
  first: readonly number[]
  later: readonly number[]
}

/** Orders `nodes` so that, as far as cycles allow, each comes after what it needs (Tarjan's algorithm). */
export function buildOrder(nodes: Iterable<number>, needsOf: (node: number) => Needs): number[] {
  const order: number[] = []
  const found = new Map<number, { index: number; low: number; isOpen: boolean }>()
  const open: number[] = []
  let count = 0
  const enter = (node: number) => {
    const { first, later } = needsOf(node)
    const state = { index: count, low: count, isOpen: true }
    count++
    found.set(node, state)
    open.push(node)
    return { node, state, edges: [...first, ...later], next: 0 }
  }
  for (const start of nodes) {
    if (found.has(start)) continue
    const work = [enter(start)]
    for (let top = work.at(-1); top; top = work.at(-1)) {
      const edge = top.edges[top.next++]
      if (edge !== undefined) {
        const target = found.get(edge)
        if (!target) work.push(enter(edge))
        else if (target.isOpen) top.state.low = Math.min(top.state.low, target.index)
        continue
      }
      work.pop()
      const parent = work.at(-1)
      if (parent) parent.state.low = Math.min(parent.state.low, top.state.low)
      if (top.state.low !== top.state.index) continue
      const members = open.splice(open.lastIndexOf(top.node))
      for (const member of members) (found.get(member) as { isOpen: boolean }).isOpen = false
      order.push(...orderCycle(members, needsOf))
    }
  }
  return order
}

/** Within a cycle, only what is needed first decides. */
function orderCycle(members: readonly number[], needsOf: (node: number) => Needs): readonly number[] {
  if (members.length === 1) return members
  const rest = new Set(members)
  const order: number[] = []
  const visit = (node: number) => {
    if (!rest.delete(node)) return
    for (const needed of needsOf(node).first) visit(needed)
    order.push(node)
  }
  for (const member of members) visit(member)
  return order
}
