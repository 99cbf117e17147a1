/**
 * Decides what happens with values that can't be sent. What the caller passes, and what the functions that it passes
 * capture themselves, fails the call. What only hangs off a helper function or an instance of a class may never be
 * used (`this.pool.map(x => x * this.factor)` holds the pool), so using it throws the same error there.
 */
import { SerializeError } from '../../errors.ts'
import type { Capture, Encoding, FunctionRecord } from './encoding.ts'
import {
  isAccessor,
  isDeferred,
  isReference,
  slotsOf,
  type DeferredError,
  type GraphNode,
  type NodeReference,
  type ObjectExtras,
  type PropertyValue,
  type Slot,
} from './graph-node.ts'
import { replaceUses } from './source-editing.ts'

/** Throws, or replaces what can't be sent by something that throws when it is used. */
export function deferErrors(encoding: Encoding, root: Slot): void {
  refuseWeakCaptures(encoding, root)
  const { nodes } = encoding
  const errors = new Map<number, DeferredError>()
  for (const [index, node] of nodes.entries()) {
    if (node.t === 'unsendable') errors.set(index, node.error)
  }
  if (errors.size === 0) return
  const work = new Deferral(encoding, errors, root)
  work.spread()
  const failure = isReference(root) ? errors.get(root[0]) : undefined
  if (failure) throw new SerializeError(failure.message, { path: failure.path })
  work.replace()
}

class Deferral {
  private readonly encoding: Encoding
  private readonly errors: Map<number, DeferredError>
  private readonly records: Map<number, FunctionRecord>
  /** Functions that the caller passed, not merely what they use. */
  private readonly direct: Set<number>

  constructor(encoding: Encoding, errors: Map<number, DeferredError>, root: Slot) {
    this.encoding = encoding
    this.errors = errors
    this.records = new Map(encoding.functions.map(record => [record.index, record]))
    this.direct = directFunctions(encoding.nodes, root)
  }

  /** Makes every node unsendable that can't do without an unsendable one. */
  spread(): void {
    const { nodes } = this.encoding
    for (let hasChanged = true; hasChanged;) {
      hasChanged = false
      for (const [index, node] of nodes.entries()) {
        if (this.errors.has(index)) continue
        const error = this.errorOf(index, node)
        if (!error) continue
        this.errors.set(index, error)
        hasChanged = true
      }
    }
  }

  private at(slot: Slot): DeferredError | undefined {
    return isReference(slot) ? this.errors.get(slot[0]) : undefined
  }

  private errorOf(index: number, node: GraphNode): DeferredError | undefined {
    const record = this.records.get(index)
    if (record) {
      const isDirect = this.direct.has(index)
      for (const capture of record.captures) {
        if (!isDirect && !capture.isNeededFirst) continue
        const error = this.at(capture.slot)
        if (error) return error
      }
      if (isDirect && record.thisSlot) return this.at(record.thisSlot.slot)
      return undefined
    }
    if (node.t === 'cell') return undefined
    const soft = isSoft(node) ? new Set(propertySlots(node)) : undefined
    for (const slot of slotsOf(node)) {
      if (soft?.has(slot)) continue
      const error = this.at(slot)
      if (error) return error
    }
    return undefined
  }

  replace(): void {
    for (const record of this.encoding.functions) this.replaceInFunction(record)
    for (const node of this.encoding.nodes) {
      if (!isSoft(node) && node.t !== 'function') continue
      const { properties } = node as ObjectExtras
      for (const [index, value] of properties?.values.entries() ?? []) {
        const error = propertyParts(value)
          .map(slot => this.at(slot))
          .find(Boolean)
        if (error) (properties as { values: PropertyValue[] }).values[index] = { error }
      }
    }
  }

  private replaceInFunction(record: FunctionRecord): void {
    const kept: Capture[] = []
    for (const capture of record.captures) {
      const error = this.at(capture.slot)
      if (!error) kept.push(capture)
      else {
        const name = this.addBrokenCell(record, capture.name, error)
        replaceUses(record, capture.name, capture.uses, `${name}.v`)
      }
    }
    record.captures = kept
    const thisError = record.thisSlot && this.at(record.thisSlot.slot)
    if (!thisError) return
    const name = this.addBrokenCell(record, 'this', thisError)
    for (const { start, end } of record.analysis.thisUses)
      record.edits.push({ start, end, text: `${name}.v` })
    delete record.thisSlot
  }

  /** A cell that throws when it is read; the function may still assign it. */
  private addBrokenCell({ node }: FunctionRecord, variable: string, error: DeferredError): string {
    const name = `${node.prefix}broken_${variable}`
    node.variables.push({ name, value: this.encoding.add({ t: 'broken-cell', error }) })
    return name
  }
}

/**
 * A function that keeps a WeakMap of its own expects to find there what this process puts in, and would find nothing.
 * Behind a class it is a different matter: compilers keep the private fields of instances in WeakMaps, which travel
 * with the instances.
 */
function refuseWeakCaptures({ functions, nodes }: Encoding, root: Slot): void {
  const isWeak = ({ slot }: Capture) => isReference(slot) && nodes[slot[0]]?.t.startsWith('weak-') === true
  const users = functions.filter(record => record.analysis.kind !== 'class' && record.captures.some(isWeak))
  if (users.length === 0) return
  const direct = directFunctions(nodes, root, { withBound: false })
  for (const { index, captures, trail } of users) {
    if (!direct.has(index)) continue
    const capture = captures.find(isWeak) as Capture
    const kind =
      (nodes[(capture.slot as NodeReference)[0]] as GraphNode).t === 'weak-map' ? 'WeakMap' : 'WeakSet'
    throw (capture.trail ?? trail).error(
      `is a ${kind}, whose entries belong to objects of this process`,
      'use a Map with keys that can be sent, or make it inside the function or its module',
    )
  }
}

/** Whether a node is an instance of a class, whose properties need not all be there. */
function isSoft(node: GraphNode): boolean {
  if (node.t === 'prototype') return true
  return node.t === 'object' && node.prototype !== undefined && node.prototype !== null
}

function propertySlots(node: GraphNode): Slot[] {
  return ((node as ObjectExtras).properties?.values ?? []).flatMap(propertyParts)
}

function propertyParts(value: PropertyValue): Slot[] {
  if (isAccessor(value)) return [value.get, value.set]
  return isDeferred(value) ? [] : [value]
}

/** The functions in what the caller passed: those that are reached without a capture or an instance between. */
function directFunctions(
  nodes: readonly GraphNode[],
  root: Slot,
  options = { withBound: true },
): Set<number> {
  const direct = new Set<number>()
  const seen = new Set<number>()
  const pending: Slot[] = [root]
  while (pending.length > 0) {
    const slot = pending.pop()
    if (!isReference(slot) || seen.has(slot[0])) continue
    seen.add(slot[0])
    const node = nodes[slot[0]] as GraphNode
    if (node.t === 'function') direct.add(slot[0])
    else if (!isSoft(node) && (options.withBound || node.t !== 'bound')) pending.push(...slotsOf(node))
  }
  return direct
}
