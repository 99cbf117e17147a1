/**
 * Turns any value into a payload that another process can rebuild it from: functions with their captured variables,
 * classes, instances, accessors, symbols, and plain data around them. Everything reachable is encoded once, so that
 * identity and cycles survive; captured values are read anew at each call.
 */
import { types } from 'node:util'
import { SerializeError } from '../../errors.ts'
import { builtinName, freshGlobals } from './builtin-names.ts'
import { originalOf, trackClass } from './class-tracker.ts'
import { commonJsMember, recheckCommonJs } from './commonjs-index.ts'
import { deferErrors } from './deferred-errors.ts'
import { refuseBareWeakCollections } from './weak-collections.ts'
import {
  isNativeText,
  sourceTextOf,
  type EncodeOptions,
  type Encoding,
  type FunctionRecord,
} from './encoding.ts'
import { findExportOf } from './export-reference.ts'
import { encodeFunction } from './function-encoding.ts'
import type { Graph, GraphNode, NodeReference, Slot } from './graph-node.ts'
import { rememberedImport, type ImportedFrom } from './import-memory.ts'
import { inspector } from './inspector-session.ts'
import { keyOfModule, type GraphPayload, type ModuleReference } from './module-reference.ts'
import { nodeModuleMember, recheckNodeModules } from './node-module-index.ts'
import { encodeObject, isPrimitive } from './object-encoding.ts'
import { modulesOfReducer, receiverOf, reducerFor, type Reducer } from '../reducers.ts'
import { Unsendable } from '../unsendable.ts'
import { type BundlePlace, bundleAt } from '../bundles.ts'
import { isOwnModule, ownPathOf } from '../own-modules.ts'
import { cachedPayload, cachePayload } from './payload-cache.ts'
import { PackedArrays } from './packed-arrays.ts'
import { PayloadLimit } from './payload-limit.ts'
import { addHook, canBeHooked } from './private-state.ts'
import { trackSymbol } from './symbol-tracker.ts'
import { scriptOf, toUrl, type Script } from './script-table.ts'
import { applyEdits } from './source-editing.ts'
import { sharedBufferNode } from './shared-buffer-node.ts'
import { standInNode } from './stand-ins.ts'
import { Trail } from './trail.ts'
import { givenCaptures } from './with-captures.ts'
import { placeVariables } from './variable-cells.ts'

export type { EncodeOptions } from './encoding.ts'
export type { GraphPayload, ModuleReference } from './module-reference.ts'

/**
 * Encodes a function, a class, or data that holds such. Throws a `SerializeError` that names the variable or property
 * and its place when something can't be sent.
 */
export function encodeGraph(root: unknown, options: EncodeOptions = {}): GraphPayload {
  const isPlainCall =
    typeof root === 'function' && !options.captures && !options.byValue && !givenCaptures(root)
  const cached = isPlainCall ? unchangingPayload(root) : undefined
  if (cached) return cached
  recheckCommonJs()
  recheckNodeModules()
  const encode = (): Encoded => encodePackedOrNot(root, options)
  const session = inspector()
  const { payload, encoder } = session ? session.use(encode) : encode()
  if (isPlainCall && encoder.isTimeless()) cachePayload(root, payload)
  return payload
}

/** The payload of a function that is known to stay the same, whatever else changes. */
export function unchangingPayload(fn: Function): GraphPayload | undefined {
  return givenCaptures(fn) ? undefined : cachedPayload(fn)
}

interface Encoded {
  payload: GraphPayload
  encoder: GraphEncoder
}

/** With long arrays packed, or without, where what is in them is also reached in another way (packed-arrays.ts). */
function encodePackedOrNot(root: unknown, options: EncodeOptions): Encoded {
  const encoder = new GraphEncoder(options)
  const payload = encoder.encode(root)
  if (encoder.isPackedApart()) return { payload, encoder }
  const plain = new GraphEncoder({ ...options, pack: undefined })
  return { payload: plain.encode(root), encoder: plain }
}

interface Work {
  value: object
  index: number
  trail: Trail
}

class GraphEncoder implements Encoding {
  readonly options: EncodeOptions
  readonly nodes: GraphNode[] = []
  readonly functions: FunctionRecord[] = []
  readonly hookedClasses = new Set<Function>()
  readonly holders = new Map<Function, object>()
  readonly knownThis = new Map<Function, unknown>()
  readonly weakCollections: { index: number; collection: object; trail: Trail }[] = []
  private readonly references = new Map<object | symbol, NodeReference>()
  private readonly pending: Work[] = []
  private readonly limit = new PayloadLimit()
  private readonly packed: PackedArrays
  private readonly modules: ModuleReference[] = []
  private readonly moduleIndexes = new Map<string, number>()
  private readonly shapes: (readonly string[])[] = []
  private readonly shapeIndexes = new Map<string, number>()
  private readonly scripts: Graph['scripts'] = []
  private readonly scriptIndexes = new Map<Script | undefined, number>()
  private needsReducer = false

  constructor(options: EncodeOptions) {
    this.options = options
    this.packed = new PackedArrays(options.pack, value => isImported(value))
  }

  /** Whether nothing in the packed arrays is referred to from outside of them; the keys of weak collections may be. */
  isPackedApart(): boolean {
    if (this.packed.count === 0) return true
    return this.weakCollections.length === 0 && this.packed.areApart(this.references.keys())
  }

  encode(value: unknown): GraphPayload {
    const trail = new Trail(undefined, { text: this.options.rootName ?? nameOf(value) })
    const root = this.slot(value, trail)
    this.encodePending(root)
    refuseBareWeakCollections(this)
    deferErrors(this, root)
    placeVariables(this)
    for (const record of this.functions) this.finish(record)
    const graph: Graph = {
      root,
      nodes: this.nodes,
      shapes: this.shapes,
      scripts: this.scripts,
      modules: this.modules,
    }
    return { modules: this.modules, body: graph, ...(this.needsReducer ? { needsReducer: true } : {}) }
  }

  /** Whether the payload will be the same at the next call: an import, or a function that captures nothing. */
  isTimeless(): boolean {
    const [node, ...rest] = this.nodes
    if (rest.length > 0 || !node) return false
    if (node.t === 'import' || node.t === 'builtin') return true
    const [record] = this.functions
    if (node.t !== 'function' || !record) return false
    return [...record.analysis.free.keys()].every(name => freshGlobals.has(name) || name === 'arguments')
  }

  private encodePending(root: Slot): void {
    for (let hasMore = true; hasMore; hasMore = this.addWeakEntries()) {
      for (let work = this.pending.pop(); work; work = this.pending.pop()) {
        try {
          const node = this.encodeValue(work)
          // An import binding may have claimed the node meanwhile.
          if (this.nodes[work.index]?.t === 'pending') this.nodes[work.index] = node
        } catch (error) {
          if (!(error instanceof SerializeError) || (Array.isArray(root) && root[0] === work.index))
            throw error
          this.nodes[work.index] = { t: 'unsendable', error: { message: error.message, path: error.path } }
        }
      }
    }
  }

  slot(value: unknown, trail: Trail): Slot {
    if (isPrimitive(value)) {
      if (typeof value === 'string') this.limit.addBytes(trail, value.length)
      return value
    }
    const key = typeof value === 'symbol' ? value : originalOf(value)
    const known = this.references.get(key)
    if (known) return known
    const reference = this.add(typeof key === 'symbol' ? symbolNode(key) : { t: 'pending' })
    this.references.set(key, reference)
    this.limit.addNode(trail)
    if (typeof key !== 'symbol') this.pending.push({ value: key, index: reference[0], trail })
    return reference
  }

  countBytes(trail: Trail, bytes: number): void {
    this.limit.addBytes(trail, bytes)
  }

  add(node: GraphNode): NodeReference {
    this.nodes.push(node)
    return [this.nodes.length - 1]
  }

  referenceOf(value: object | symbol): NodeReference | undefined {
    return this.references.get(value)
  }

  adopt(value: object | symbol, reference: NodeReference): void {
    this.references.set(value, reference)
  }

  prototypeOf(prototype: object, owner: Slot): NodeReference {
    let reference = this.references.get(prototype)
    if (!reference) {
      reference = this.add({ t: 'prototype', of: owner })
      this.references.set(prototype, reference)
    } else if (this.nodes[reference[0]]?.t === 'pending') {
      this.nodes[reference[0]] = { t: 'prototype', of: owner }
    }
    return reference
  }

  private moduleIndex(module: ModuleReference): number {
    const key = keyOfModule(module)
    let index = this.moduleIndexes.get(key)
    if (index === undefined) {
      const own = ownPathOf(module.url)
      const bundle = own === undefined ? bundleFor(module) : undefined
      const named = bundle ? { ...module, url: bundle.url, bundle: bundle.hash } : module
      index = this.modules.push(own === undefined ? named : { ...module, own }) - 1
      this.moduleIndexes.set(key, index)
    }
    return index
  }

  importNode({ module, name, path, check }: ImportedFrom): GraphNode {
    return {
      t: 'import',
      module: this.moduleIndex(module),
      ...(name === undefined ? {} : { name }),
      ...(path && path.length > 0 ? { path } : {}),
      ...(check ? { check } : {}),
    }
  }

  shapeIndex(keys: readonly string[]): number {
    const name = keys.join('\0')
    let index = this.shapeIndexes.get(name)
    if (index === undefined) {
      index = this.shapes.push(keys) - 1
      this.shapeIndexes.set(name, index)
    }
    return index
  }

  scriptIndex(script: Script | undefined): number {
    let index = this.scriptIndexes.get(script)
    if (index === undefined) {
      index = this.scripts.push({ url: script?.url ?? '', isGenerated: script?.isGenerated ?? false }) - 1
      this.scriptIndexes.set(script, index)
    }
    return index
  }

  private encodeValue({ value, index, trail }: Work): GraphNode {
    if (types.isProxy(value)) {
      throw trail.error(
        'is a Proxy, whose target and handler can not be told from outside',
        'use the target object, or make the Proxy inside the function',
      )
    }
    if (types.isAnyArrayBuffer(value)) {
      const shared = sharedBufferNode(value, this.options)
      if (shared) {
        this.needsReducer = true
        return shared
      }
    }
    const attachment = this.options.attach?.(value)
    if (attachment !== undefined) return { t: 'attachment', index: attachment }
    const standIn = standInNode(value)
    if (standIn) return structuredClone(standIn)
    const name = builtinName(value)
    if (name && isGenuine(value)) return { t: 'builtin', name }
    const reference = this.findImport(value, trail)
    if (reference) return this.importNode(reference)
    if (typeof value === 'function') return encodeFunction(this, value, trail, index)
    const reducer = reducerFor(value)
    if (reducer) return this.reducedNode(value, reducer, trail)
    const packed = trail.isCaptured ? undefined : this.packed.node(value)
    if (packed) return packed
    return encodeObject(this, value, trail, index)
  }

  /** What the reducer returns has identities of its own: it is rebuilt whole before the object is. */
  private reducedNode(value: object, reducer: Reducer, trail: Trail): GraphNode {
    const { modules, body } = encodePackedOrNot(this.reduce(value, reducer, trail), this.options).payload
    for (const module of [...modules, ...modulesOfReducer(reducer)]) this.moduleIndex(module)
    this.needsReducer = true
    return { t: 'reduced', name: reducer.name, body }
  }

  private reduce(value: object, reducer: Reducer, trail: Trail): unknown {
    try {
      return reducer.encode(value, receiverOf(this.options))
    } catch (problem) {
      if (!(problem instanceof Unsendable)) throw problem
      throw trail.error(`is ${problem.kind}, which cannot leave its process`, problem.advice)
    }
  }

  /** Where another process can import the value from, as far as that is known without looking into a function. */
  private findImport(value: object, trail: Trail): ImportedFrom | undefined {
    const member = nodeModuleMember(value)
    if (member) return { module: { kind: 'cjs', url: member.module }, path: member.path }
    if (types.isModuleNamespaceObject(value))
      return this.findNamespace(value as Record<string, unknown>, trail)
    const found = rememberedImport(value) ?? this.findCommonJs(value)
    return found && this.mayImport(found.module.url) ? found : undefined
  }

  private findCommonJs(value: object): ImportedFrom | undefined {
    const member = commonJsMember(value)
    return member && { module: { kind: 'cjs', url: toUrl(member.filename) }, path: member.path }
  }

  private mayImport(url: string): boolean {
    return isOwnModule(url) || !this.options.byValue?.(url)
  }

  /** A namespace object does not say whose it is, but the functions in it do. */
  private findNamespace(namespace: Record<string, unknown>, trail: Trail): ImportedFrom {
    const session = inspector()
    for (const name of session ? Object.keys(namespace) : []) {
      const member = namespace[name]
      if (typeof member !== 'function' || isNativeText(sourceTextOf(member))) continue
      const found = findExportOf(member)
      const location = session?.lookAtFunction(member).location
      const script = location && scriptOf(location.scriptId)
      if (found?.module.kind === 'esm' && found.name === name && script?.syntax.exports.has(name)) {
        return { module: found.module }
      }
    }
    throw trail.error(
      'is the namespace of a module whose file can not be told from it',
      'import it statically (`import * as name from "..."`), or import() it inside the function',
    )
  }

  /** Adds the entries of weak collections whose keys travel too; whether this led to further values. */
  private addWeakEntries(): boolean {
    for (const { index, collection, trail } of this.weakCollections) {
      const node = this.nodes[index]
      if (node?.t !== 'weak-map' && node?.t !== 'weak-set') continue
      const items = node.t === 'weak-map' ? node.keys : node.items
      const present = new Set(items.map(item => (item as NodeReference)[0]))
      for (const [key, value] of inspector()?.entriesOf(collection) ?? []) {
        const reference = this.references.get(key)
        if (!reference || present.has(reference[0])) continue
        items.push(reference)
        if (node.t === 'weak-map') node.values.push(this.slot(value, trail.toPart('weak entry')))
      }
    }
    return this.pending.length > 0
  }

  private finish(record: FunctionRecord): void {
    const { node, analysis, text, edits, thisSlot, fn } = record
    // Any function that mentions `this` may be a constructor; it is one for sure when its prototype object travels.
    if (analysis.kind === 'function' && /\bthis\b/.test(text)) {
      node.classId = trackClass(fn)
      if (this.references.has(fn.prototype as object)) node.hasInstances = true
    }
    if (thisSlot) {
      const name = `${node.prefix}this`
      for (const span of analysis.thisUses) edits.push({ ...span, text: name })
      node.variables.push({ name, value: thisSlot.slot })
    }
    if (node.isClass && (this.hookedClasses.has(fn) || canBeHooked(record))) addHook(this, record)
    node.source = applyEdits(text, edits)
  }
}

/** Whether an object travels by reference, as what a module exports. */
function isImported(value: object): boolean {
  return commonJsMember(value) !== undefined || rememberedImport(value) !== undefined
}

function symbolNode(symbol: symbol): GraphNode {
  const registered = Symbol.keyFor(symbol)
  if (registered !== undefined) return { t: 'symbol', registered }
  const wellKnown = Object.getOwnPropertyNames(Symbol).find(name => Reflect.get(Symbol, name) === symbol)
  return wellKnown === undefined
    ? { t: 'symbol', id: trackSymbol(symbol), description: symbol.description }
    : { t: 'symbol', wellKnown }
}

/** Whether a function found among the built-ins is one, not a patch of the user's (`console.log = ...`). */
function isGenuine(value: object): boolean {
  if (typeof value !== 'function' || isNativeText(sourceTextOf(value))) return true
  const session = inspector()
  if (!session) return true
  const { location } = session.lookAtFunction(value)
  return location === undefined || (scriptOf(location.scriptId)?.url.startsWith('node:') ?? true)
}

function nameOf(value: unknown): string {
  if (typeof value === 'function') {
    const kind = /^class\b/.test(sourceTextOf(value)) ? 'class' : 'function'
    return value.name ? `${kind} ${value.name}` : `an anonymous ${kind}`
  }
  return 'the value'
}

/** What came here with the name of a bundle keeps that. */
function bundleFor({ kind, url, bundle }: ModuleReference): BundlePlace | undefined {
  return kind === 'esm' && bundle === undefined ? bundleAt(url) : undefined
}
