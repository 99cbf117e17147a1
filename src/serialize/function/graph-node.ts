/**
 * The form in which a graph of values travels: a list of nodes that refer to each other by index. It is plain data,
 * so that any codec can carry it. The README of this folder describes it step by step.
 */
import type { SharedBufferHandle } from '../../platform/shared-buffers.ts'
import type { SourceForm } from './function-source.ts'
import type { BuiltinName } from './builtin-names.ts'
import type { ModuleReference } from './module-reference.ts'

/** A reference to a node: its index, wrapped so that it can't be taken for a number. */
export type NodeReference = readonly [index: number]

/** A primitive, or a reference to a node. */
export type Slot = string | number | boolean | bigint | null | undefined | NodeReference

/** What a property holds, other than a plain value. */
export interface AccessorPair {
  get: Slot
  set: Slot
}

/** Something that can't be sent and may never be used: using it throws this error. */
export interface DeferredError {
  message: string
  path: readonly string[]
}

export type PropertyValue = Slot | AccessorPair | { error: DeferredError }

/** Own properties, in order. `flags` (writable 1, enumerable 2, configurable 4) is absent when all are 7. */
export interface Properties {
  keys: readonly Slot[]
  values: PropertyValue[]
  flags?: number[]
}

/** What every object may have beside its contents. */
export interface ObjectExtras {
  properties?: Properties
  /** Absent when it is the usual one of its kind. */
  prototype?: Slot
  extensibility?: 'frozen' | 'fixed'
  /** Private fields, in the order in which the classes of the prototype chain declare them. */
  privateState?: PrivateState[]
}

/** The private fields that one class of the chain gives to an object. */
export interface PrivateState {
  type: Slot
  names: readonly string[]
  values: Slot[]
}

/** Where a function or class is found in the other process. */
export interface ImportNode {
  t: 'import'
  /** Index in the payload's modules. */
  module: number
  /** Exported name; absent for the module itself. */
  name?: string
  path?: readonly string[]
  /** Properties of the function there, to notice that it is another one. */
  check?: { name: string; length: number }
}

/** How a captured variable gets into the rebuilt function. */
export interface VariableNode {
  /** Its name in the edited source. */
  name: string
  value: Slot
  /** It has to be there when a class is defined. */
  isNeededFirst?: boolean
  /** The function assigns it, and no other function of the payload uses it. */
  isAssigned?: boolean
}

export interface FunctionNode extends ObjectExtras {
  t: 'function'
  source: string
  form: SourceForm
  accessor?: 'get' | 'set'
  isClass?: boolean
  isStrict: boolean
  name?: string
  /** Index in the payload's scripts. */
  script: number
  line: number
  column: number
  /** No identifier of the source begins with it. */
  prefix: string
  variables: VariableNode[]
  usesImport?: boolean
  /** The node of its `prototype` object, if something refers to it. */
  prototypeNode?: NodeReference
  /** Identity of the class over all processes. */
  classId?: string
  /** A constructor function whose `prototype` travels too, so that its identity matters. */
  hasInstances?: boolean
  /** The node through which the class text gives access to private state (see private-state.ts). */
  hook?: Slot
  /** Static private fields. */
  privateStatics?: { names: readonly string[]; values: Slot[] }
}

/** As `SharedBufferHandle`, but memory that travels beside the payload is an index. */
export type SharedBufferNode =
  | Exclude<SharedBufferHandle, { kind: 'thread' }>
  | { kind: 'thread'; id: number; attachment: number }

export type GraphNode =
  | { t: 'builtin'; name: BuiltinName }
  | { t: 'symbol'; registered?: string; wellKnown?: string; id?: string; description?: string | undefined }
  | ImportNode
  | { t: 'attachment'; index: number }
  | ({ t: 'object' } & ObjectExtras)
  /** The usual case: only plain properties with string keys. */
  | { t: 'record'; shape: number; values: Slot[] }
  | ({ t: 'array'; items: Slot[]; length?: number } & ObjectExtras)
  | ({ t: 'map'; keys: Slot[]; values: Slot[] } & ObjectExtras)
  | ({ t: 'set'; items: Slot[] } & ObjectExtras)
  | ({ t: 'weak-map'; keys: Slot[]; values: Slot[] } & ObjectExtras)
  | ({ t: 'weak-set'; items: Slot[] } & ObjectExtras)
  | ({ t: 'date'; time: number } & ObjectExtras)
  | ({ t: 'regexp'; source: string; flags: string } & ObjectExtras)
  | ({ t: 'buffer'; bytes: Uint8Array; maxByteLength?: number } & ObjectExtras)
  /** A buffer over memory that both sides have. */
  | { t: 'shared-buffer'; handle: SharedBufferNode }
  | ({ t: 'view'; type: string; buffer: Slot; offset: number; length: number } & ObjectExtras)
  | ({ t: 'boxed'; value: Slot } & ObjectExtras)
  | ({ t: 'error'; stack: Slot } & ObjectExtras)
  /** An instance of a platform class: `new URL(href)`. */
  | ({ t: 'constructed'; type: string; arguments: readonly unknown[] } & ObjectExtras)
  | { t: 'arguments'; items: Slot[] }
  | FunctionNode
  /** The `prototype` object of a function or class, with what its text does not say. */
  | ({ t: 'prototype'; of: Slot } & ObjectExtras)
  /** A method that only works inside its class. */
  | { t: 'method'; holder: Slot; key: Slot; accessor?: 'get' | 'set' }
  | { t: 'bound'; target: Slot; thisValue: Slot; arguments: Slot[] }
  /** A variable that several functions share and one of them assigns. */
  | { t: 'cell'; value: Slot }
  | { t: 'require'; base: string }
  | { t: 'module-object'; filename: string; exports: Slot }
  | { t: 'import-function'; base: string }
  | { t: 'import-meta'; url: string }
  | { t: 'private-hook' }
  /** A long array of plain data, in the form of `PackedData`. */
  | { t: 'packed'; bytes: Uint8Array }
  /** An object that its reducer took apart: what that returned is a graph of its own. */
  | { t: 'reduced'; name: string; body: unknown }
  /** A variable that can't be sent: reading it throws, until it is assigned. */
  | { t: 'broken-cell'; error: DeferredError }
  | { t: 'unsendable'; error: DeferredError }
  /** Reserved while the node is being filled. */
  | { t: 'pending' }

/** A script that functions of the payload come from. */
export interface ScriptNode {
  url: string
  /** A tool generated it, so that positions in it have to be mapped back by whoever has the source map. */
  isGenerated: boolean
}

/** The body of a payload. */
export interface Graph {
  root: Slot
  nodes: GraphNode[]
  /** The keys of `record` nodes. */
  shapes: (readonly string[])[]
  scripts: ScriptNode[]
  modules: ModuleReference[]
}

/** Whether a slot refers to a node. */
export function isReference(slot: unknown): slot is NodeReference {
  return Array.isArray(slot)
}

/** Every node that building this one needs, directly. Slots of private state and deferred errors included. */
export function* slotsOf(node: GraphNode): Generator<Slot> {
  switch (node.t) {
    case 'record':
      yield* node.values
      return
    case 'array':
    case 'set':
    case 'weak-set':
    case 'arguments':
      yield* node.items
      break
    case 'map':
    case 'weak-map':
      yield* node.keys
      yield* node.values
      break
    case 'view':
      yield node.buffer
      break
    case 'boxed':
    case 'cell':
      yield node.value
      break
    case 'error':
      yield node.stack
      break
    case 'prototype':
      yield node.of
      break
    case 'method':
      yield node.holder
      yield node.key
      break
    case 'bound':
      yield node.target
      yield node.thisValue
      yield* node.arguments
      break
    case 'module-object':
      yield node.exports
      break
    case 'function':
      for (const variable of node.variables) yield variable.value
      if (node.privateStatics) yield* node.privateStatics.values
      yield node.prototypeNode
      yield node.hook
      break
    default:
      break
  }
  const extras = node as ObjectExtras
  yield extras.prototype
  for (const state of extras.privateState ?? []) {
    yield state.type
    yield* state.values
  }
  if (!extras.properties) return
  yield* extras.properties.keys
  for (const value of extras.properties.values) {
    if (isAccessor(value)) {
      yield value.get
      yield value.set
    } else if (!isDeferred(value)) yield value
  }
}

export function isAccessor(value: PropertyValue): value is AccessorPair {
  return typeof value === 'object' && value !== null && 'get' in value
}

export function isDeferred(value: PropertyValue): value is { error: DeferredError } {
  return typeof value === 'object' && value !== null && 'error' in value
}
