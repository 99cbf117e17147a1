/**
 * What the parts of the graph encoder share while one payload is made: the nodes so far, the records of functions
 * whose text is written at the end, and the means to refer to further values. Values are put on a list and encoded
 * later, so that neither depth nor cycles are limited by the stack.
 */
import type { FunctionAnalysis, Span, VariableUse } from './function-analysis.ts'
import type { FunctionNode, GraphNode, NodeReference, Slot } from './graph-node.ts'
import type { FunctionView, ScopeView } from './inspector-session.ts'
import type { ImportedFrom } from './import-memory.ts'
import type { Script } from './script-table.ts'
import type { Trail } from './trail.ts'

export interface EncodeOptions {
  /** How error messages call the root: `function f`. */
  rootName?: string | undefined
  /** Gives the index of an object that travels beside the payload (a port, a shared buffer), or undefined. */
  attach?: ((value: object) => number | undefined) | undefined
  /** Values for captured variables, by name: the way out where the runtime can't read them. */
  captures?: Record<string, unknown>
  /** Whether functions of this module are to be sent by value, because the receiver could not load it. */
  byValue?: ((url: string) => boolean) | undefined
  /** Whether several may read the payload, or one more than once. */
  isReadOften?: boolean | undefined
  /** Writes plain data as bytes; `undefined` when something in it is not plain. */
  pack?: ((value: object) => PackedData | undefined) | undefined
}

/** Plain data as a message of its own, which the codec around the graph writes and reads. */
export interface PackedData {
  bytes: Uint8Array
  /** Every object in it. */
  objects: ReadonlySet<object> | ReadonlyMap<object, unknown>
}

/** A variable scope that a captured variable lives in. */
export interface Binding {
  /** Identifies a scope that exists once: a module's, the global one. */
  singleton: string | undefined
  scopes: readonly ScopeView[]
  index: number
  scriptId: string
}

/** A variable of the surroundings, as one function of the payload sees it. */
export interface Capture {
  name: string
  /** Its name in the rebuilt function, when `name` can't be declared there. */
  alias?: string
  uses: readonly VariableUse[]
  slot: Slot
  isAssigned: boolean
  isNeededFirst?: boolean
  binding?: Binding
  trail?: Trail
}

/** A change to a function's text. */
export interface Edit extends Span {
  text: string
}

/** A function that is sent by value; its node gets its text when the graph is complete. */
export interface FunctionRecord {
  index: number
  fn: Function
  node: FunctionNode
  text: string
  analysis: FunctionAnalysis
  view: FunctionView | undefined
  script: Script | undefined
  start: number
  trail: Trail
  captures: Capture[]
  thisSlot?: { slot: Slot }
  edits: Edit[]
}

export interface Encoding {
  readonly options: EncodeOptions
  readonly nodes: GraphNode[]
  readonly functions: FunctionRecord[]
  /** Classes whose instances bring private state, so that their text needs a hook. */
  readonly hookedClasses: Set<Function>
  /** A primitive, or the reference to the node of a value. */
  slot(value: unknown, trail: Trail): Slot
  /** Counts data that is captured against the limit of a payload. */
  countBytes(trail: Trail, bytes: number): void
  /** A node of our own making. */
  add(node: GraphNode): NodeReference
  /** The node that stands for `value`, if it was reached already. */
  referenceOf(value: object | symbol): NodeReference | undefined
  /** Makes a node stand for `value` from now on. */
  adopt(value: object | symbol, reference: NodeReference): void
  importNode(from: ImportedFrom): GraphNode
  shapeIndex(keys: readonly string[]): number
  /** Weak collections, whose entries are added when it is known which of their keys travel. */
  readonly weakCollections: { index: number; collection: object; trail: Trail }[]
  scriptIndex(script: Script | undefined): number
  /** The `prototype` node of a class or function. */
  prototypeOf(prototype: object, owner: Slot): NodeReference
  /** Objects that hold an arrow as an own property, by the arrow: candidates for its `this`. */
  readonly holders: Map<Function, object>
  /** The `this` of functions that were bound to it. */
  readonly knownThis: Map<Function, unknown>
}

/** The source text of a function, untouched by an own `toString`. */
export function sourceTextOf(fn: Function): string {
  return Function.prototype.toString.call(fn)
}

export function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

/** Whether a text is V8's stand-in for code that is not JavaScript. */
export function isNativeText(text: string): boolean {
  return /\{\s*\[native code\]\s*\}$/.test(text)
}
