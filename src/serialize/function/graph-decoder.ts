/**
 * Rebuilds the values of a payload. Containers are made empty first and filled last, so that cycles need no care and
 * depth no stack; functions and what else can't be made empty are built in between, in the order of their needs.
 */
import Module from 'node:module'
import { fileURLToPath } from 'node:url'
import { ModuleLoadError, SerializeError } from '../../errors.ts'
import { buildOrder, type Needs } from './build-order.ts'
import { builtinOf, printBuiltin } from './builtin-names.ts'
import { fromVite, importFrom, requireFrom } from './dynamic-import.ts'
import { isObject } from './encoding.ts'
import { buildFunction } from './function-builder.ts'
import {
  isAccessor,
  isDeferred,
  isReference,
  slotsOf,
  type DeferredError,
  type FunctionNode,
  type Graph,
  type GraphNode,
  type ImportNode,
  type ObjectExtras,
  type Properties,
  type Slot,
} from './graph-node.ts'
import { rememberImport } from './import-memory.ts'
import { loadedModule } from './module-loader.ts'
import type { ModuleReference } from './module-reference.ts'
import { PayloadClasses, type ClassOptions } from './payload-classes.ts'
import { addPrivateFields, hookOf, makePrivateHook, rememberHook, type PrivateHook } from './private-hook.ts'
import { remapStack } from './stack-remapping.ts'
import { registeredReducer } from '../reducers.ts'
import { bufferOfNode } from './shared-buffer-node.ts'
import { rememberStandIn } from './stand-ins.ts'
import { symbolOf } from './symbol-tracker.ts'

export { loadModules } from './module-loader.ts'

export interface DecodeOptions extends ClassOptions {
  /** What travelled beside the payload, by the indexes that `attach` gave. */
  attachments?: readonly unknown[]
  /** The pair of `pack` in `EncodeOptions`. */
  unpack?: (bytes: Uint8Array) => unknown
}

/** Rebuilds the root of a payload whose modules have been loaded with `loadModules()`. */
export function decodeGraph(body: unknown, options: DecodeOptions = {}): unknown {
  return new GraphDecoder(body as Graph, options).decode()
}

/** Nodes that can't be made empty: they are made when what they need is there. */
const builtLate: ReadonlySet<GraphNode['t']> = new Set([
  'function',
  'bound',
  'method',
  'prototype',
  'view',
  'boxed',
] as const)

class GraphDecoder {
  private readonly graph: Graph
  private readonly options: DecodeOptions
  private readonly classes: PayloadClasses
  private readonly values: unknown[]
  private readonly isMade: Uint8Array
  /** Indexes of the nodes that the root needs, in the order in which they are found. */
  private readonly reached: number[] = []
  /** Classes that are here already, and classes of this process that came home: nothing to build or fill. */
  private readonly home = new Set<number>()
  /** Classes that came home, but whose copy is needed for private state. */
  private readonly copied = new Set<number>()
  private readonly lateVariables: (() => void)[] = []

  constructor(graph: Graph, options: DecodeOptions) {
    this.graph = graph
    this.options = options
    this.classes = new PayloadClasses(graph, options)
    this.values = Array.from({ length: graph.nodes.length })
    this.isMade = new Uint8Array(graph.nodes.length)
  }

  decode(): unknown {
    const { root } = this.graph
    this.reach(root)
    const late: number[] = []
    for (const index of this.reached) {
      const node = this.node(index)
      if (this.isMade[index]) continue
      if (this.isBuiltLate(node)) late.push(index)
      else this.put(index, this.makeEmpty(node))
    }
    for (const index of buildOrder(late, node => this.needsOf(node))) this.put(index, this.build(index))
    for (const setVariables of this.lateVariables) setVariables()
    for (const index of this.reached) if (!this.home.has(index)) this.fill(index)
    return this.value(root)
  }

  private node(index: number): GraphNode {
    const node = this.graph.nodes[index]
    if (!node) throw new SerializeError(`Cannot rebuild a value: node ${index} is missing`, decodeFacts)
    return node
  }

  private put(index: number, value: unknown): void {
    this.values[index] = value
    this.isMade[index] = 1
  }

  private value(slot: Slot): unknown {
    return isReference(slot) ? this.values[slot[0]] : slot
  }

  /** Finds what has to be built. Behind a class that came home is nothing new. */
  private reach(root: Slot): void {
    const seen = new Set<number>()
    const pending: Slot[] = [root]
    const visit = (index: number): void => {
      const node = this.node(index)
      for (const type of this.classes.copiesFor(node as ObjectExtras)) {
        if (this.copied.has(type)) continue
        this.copied.add(type)
        if (this.home.delete(type)) visit(type)
      }
      if (node.t === 'function') {
        const known = this.copied.has(index)
          ? this.classes.findHomeCopy(node, index)
          : this.classes.find(node, index)
        if (known) {
          this.home.add(index)
          this.put(index, known)
          return
        }
      }
      for (const slot of slotsOf(node)) pending.push(slot)
    }
    while (pending.length > 0) {
      const slot = pending.pop()
      if (!isReference(slot) || seen.has(slot[0])) continue
      seen.add(slot[0])
      this.reached.push(slot[0])
      visit(slot[0])
    }
    for (const index of this.copied) if (!this.home.has(index)) this.isMade[index] = 0
    // What was only added to the prototype of a class that came home is there already.
    for (const index of this.reached) {
      const node = this.node(index)
      if (node.t === 'prototype' && isReference(node.of) && this.home.has(node.of[0])) this.home.add(index)
    }
  }

  private isBuiltLate(node: GraphNode): boolean {
    return builtLate.has(node.t) || (node as ObjectExtras).privateState !== undefined
  }

  /** The nodes among those built late that a node needs. */
  private needsOf(index: number): Needs {
    const node = this.node(index)
    const late = (slots: Iterable<Slot>): number[] => {
      const indexes: number[] = []
      for (const slot of slots) {
        if (isReference(slot) && !this.isMade[slot[0]]) indexes.push(slot[0])
      }
      return indexes
    }
    const states = (node as ObjectExtras).privateState
    if (node.t === 'function') {
      return {
        first: late(node.variables.filter(({ isNeededFirst }) => isNeededFirst).map(({ value }) => value)),
        later: late(node.variables.map(({ value }) => value)),
      }
    }
    if (states) return { first: late(states.map(({ type }) => type)), later: [] }
    switch (node.t) {
      case 'bound':
        return { first: late([node.target, node.thisValue, ...node.arguments]), later: [] }
      case 'method':
        return { first: late([node.holder, node.key]), later: [] }
      case 'prototype':
        return { first: late([node.of]), later: [] }
      case 'view':
        return { first: late([node.buffer]), later: [] }
      case 'boxed':
        return { first: late([node.value]), later: [] }
      default:
        return { first: [], later: [] }
    }
  }

  private makeEmpty(node: GraphNode): unknown {
    switch (node.t) {
      case 'record':
      case 'object':
        return {}
      case 'array':
        return node.length === undefined ? [] : Array.from({ length: 0 })
      case 'map':
        return new Map()
      case 'set':
        return new Set()
      case 'weak-map':
        return new WeakMap()
      case 'weak-set':
        return new WeakSet()
      case 'date':
        return new Date(node.time)
      case 'regexp':
        return new RegExp(node.source, node.flags)
      case 'buffer':
        return makeBuffer(node)
      case 'shared-buffer':
        return bufferOfNode(node.handle, this.options.attachments)
      case 'error':
        return new Error()
      case 'constructed':
        return Reflect.construct(Reflect.get(globalThis, node.type) as Function, node.arguments)
      case 'arguments':
        return makeArguments(node.items.length)
      case 'builtin': {
        const value = builtinOf(node.name)
        if (value !== undefined) return value
        throw new SerializeError(
          `Cannot rebuild a value: this process has no ${printBuiltin(node.name)}\n` +
            'To fix: run both processes on the same version of Node.js',
          decodeFacts,
        )
      }
      case 'symbol':
        return makeSymbol(node)
      case 'import':
        return this.import(node)
      case 'attachment':
        return this.options.attachments?.[node.index]
      case 'cell':
        return { v: undefined }
      case 'require':
        return rememberStandIn(requireFrom(node.base), node)
      case 'module-object': {
        const module = new Module(node.filename)
        return Object.assign(module, { filename: node.filename, loaded: true })
      }
      case 'import-function':
        return rememberStandIn(
          (specifier: string) => importFrom(node.base, fromVite(specifier, node.base)),
          node,
        )
      case 'import-meta':
        return rememberStandIn(makeImportMeta(node.url), node)
      case 'private-hook':
        return rememberStandIn(makePrivateHook(), node)
      case 'packed':
        return this.options.unpack?.(node.bytes)
      case 'reduced':
        return registeredReducer(node.name).decode(decodeGraph(node.body, this.options))
      case 'broken-cell':
        return rememberStandIn(makeBrokenCell(node.error), node)
      case 'unsendable':
        return undefined
      default:
        throw new SerializeError(`Cannot rebuild a value of the unknown kind "${node.t}"`, decodeFacts)
    }
  }

  private build(index: number): unknown {
    const node = this.node(index)
    if ((node as ObjectExtras).privateState) return this.buildWithPrivateState(node)
    switch (node.t) {
      case 'function':
        return this.buildFunction(node, index)
      case 'bound': {
        const target = this.value(node.target) as Function
        return target.bind(
          this.value(node.thisValue),
          ...node.arguments.map(slot => this.value(slot)),
        ) as unknown
      }
      case 'method': {
        const holder = this.value(node.holder) as object
        const key = this.value(node.key) as PropertyKey
        const descriptor = Object.getOwnPropertyDescriptor(holder, key)
        return node.accessor ? descriptor?.[node.accessor] : (descriptor?.value as unknown)
      }
      case 'prototype':
        return (this.value(node.of) as Function).prototype
      case 'view': {
        const View = Reflect.get(globalThis, node.type) as new (
          buffer: unknown,
          offset: number,
          length: number,
        ) => unknown
        return new View(this.value(node.buffer), node.offset, node.length)
      }
      case 'boxed':
        return Object(this.value(node.value)) as unknown
      default:
        throw new Error(`This is a bug in multiproc, please report it: ${node.t} is not built late`)
    }
  }

  private buildFunction(node: FunctionNode, index: number): Function {
    const isThere = ({ value }: { value: Slot }) => !isReference(value) || this.isMade[value[0]] === 1
    const early = node.variables
      .filter(isThere)
      .map(variable => ({ variable, value: this.value(variable.value) }))
    const late = node.variables.filter(variable => !isThere(variable))
    const script = this.graph.scripts[node.script] ?? { url: '', isGenerated: false }
    const { fn, setLate } = buildFunction(node, script, { early, late })
    if (late.length > 0) this.lateVariables.push(() => setLate(late.map(({ value }) => this.value(value))))
    if (node.hook !== undefined) {
      const isDerived = node.variables.some(({ name }) => name === `${node.prefix}super`)
      rememberHook(fn, this.value(node.hook) as PrivateHook, isDerived)
    }
    this.classes.adopt(node, index, fn)
    return fn
  }

  /** An object with the private fields of its classes, all undefined yet. */
  private buildWithPrivateState(node: GraphNode): object {
    let object: object | undefined
    for (const { type } of (node as ObjectExtras).privateState ?? []) {
      const copy = this.value(type) as Function
      const hooked = hookOf(copy)
      if (!hooked)
        throw new SerializeError(
          'Cannot rebuild an object with private fields of an unknown class',
          decodeFacts,
        )
      if (hooked.isDerived) object ??= this.makeEmpty(node) as object
      object = addPrivateFields(copy, hooked.hook, hooked.isDerived ? object : undefined)
    }
    // Fields that the class defines are there now, but the object may have lost or redefined them since.
    for (const key of Reflect.ownKeys(object as object)) Reflect.deleteProperty(object as object, key)
    return object as object
  }

  private import(node: ImportNode): unknown {
    const module = this.graph.modules[node.module] as ModuleReference
    let value: unknown = loadedModule(module)
    const names = [...(node.name === undefined ? [] : [node.name]), ...(node.path ?? [])]
    for (const name of names) {
      if (!isObject(value) || !(name in value)) throw missingExport(module, names)
      value = (value as Record<string, unknown>)[name]
    }
    const { check } = node
    if (
      check &&
      (typeof value !== 'function' || value.length !== check.length || value.name !== check.name)
    ) {
      throw missingExport(module, names)
    }
    if (isObject(value) && !module.url.startsWith('node:')) {
      const from = { module, ...(node.name === undefined ? {} : { name: node.name }) }
      rememberImport(value, {
        ...from,
        ...(node.path ? { path: node.path } : {}),
        ...(check ? { check } : {}),
      })
    }
    return value
  }

  private fill(index: number): void {
    const node = this.node(index)
    const value = this.values[index]
    switch (node.t) {
      case 'record': {
        const keys = this.graph.shapes[node.shape] ?? []
        const record = value as Record<string, unknown>
        for (const [position, key] of keys.entries()) {
          const content = this.value(node.values[position])
          if (key === '__proto__') Object.defineProperty(record, key, { ...plain, value: content })
          else record[key] = content
        }
        return
      }
      case 'array': {
        const array = value as unknown[]
        for (const item of node.items) array.push(this.value(item))
        if (node.length !== undefined) array.length = node.length
        break
      }
      case 'map':
        for (const [position, key] of node.keys.entries()) {
          Map.prototype.set.call(value, this.value(key), this.value(node.values[position]))
        }
        break
      case 'set':
        for (const item of node.items) Set.prototype.add.call(value, this.value(item))
        break
      case 'weak-map':
        for (const [position, key] of node.keys.entries()) {
          WeakMap.prototype.set.call(value, this.value(key) as object, this.value(node.values[position]))
        }
        break
      case 'weak-set':
        for (const item of node.items) WeakSet.prototype.add.call(value, this.value(item) as object)
        break
      case 'error': {
        const stack = this.value(node.stack)
        const mapped = typeof stack === 'string' ? remapStack(stack) : stack
        Object.defineProperty(value, 'stack', { value: mapped, writable: true, configurable: true })
        break
      }
      case 'arguments':
        for (const [position, item] of node.items.entries())
          Reflect.set(value as object, position, this.value(item))
        return
      case 'cell':
        Reflect.set(value as object, 'v', this.value(node.value))
        return
      case 'module-object':
        Reflect.set(value as object, 'exports', this.value(node.exports))
        return
      case 'function':
        this.fillFunction(node, value as Function)
        break
      default:
        break
    }
    this.fillExtras(node as ObjectExtras, value)
  }

  private fillFunction(node: FunctionNode, fn: Function): void {
    if (node.name !== undefined && fn.name !== node.name) {
      Object.defineProperty(fn, 'name', { value: node.name, configurable: true })
    }
    if (!node.privateStatics) return
    const { hook } = hookOf(fn) ?? {}
    for (const [index, name] of node.privateStatics.names.entries()) {
      hook?.set?.(fn, name, this.value(node.privateStatics.values[index]))
    }
  }

  private fillExtras(extras: ObjectExtras, value: unknown): void {
    if (!isObject(value)) return
    if (extras.prototype !== undefined)
      Object.setPrototypeOf(value, this.value(extras.prototype) as object | null)
    if (extras.properties) this.define(value, extras.properties)
    for (const { type, names, values } of extras.privateState ?? []) {
      const { hook } = hookOf(this.value(type) as Function) ?? {}
      for (const [index, name] of names.entries()) hook?.set?.(value, name, this.value(values[index]))
    }
    if (extras.extensibility === 'frozen') Object.freeze(value)
    else if (extras.extensibility === 'fixed') Object.preventExtensions(value)
  }

  private define(object: object, { keys, values, flags }: Properties): void {
    for (const [index, slot] of keys.entries()) {
      const key = this.value(slot) as PropertyKey
      const value = values[index]
      const flag = flags?.[index] ?? 7
      const common = { enumerable: (flag & 2) !== 0, configurable: (flag & 4) !== 0 }
      if (isAccessor(value)) {
        const get = this.value(value.get) as (() => unknown) | undefined
        const set = this.value(value.set) as ((value: unknown) => void) | undefined
        Object.defineProperty(object, key, { ...common, get, set })
      } else if (isDeferred(value)) {
        const get = () => {
          throw deferred(value.error)
        }
        Object.defineProperty(object, key, { enumerable: common.enumerable, configurable: true, get })
      } else
        Object.defineProperty(object, key, {
          ...common,
          writable: (flag & 1) !== 0,
          value: this.value(value),
        })
    }
  }
}

const decodeFacts = { code: 'ERR_NOT_DESERIALIZABLE' as const }
const plain = { writable: true, enumerable: true, configurable: true }

function deferred(error: DeferredError | undefined): SerializeError {
  return new SerializeError(error?.message ?? 'Cannot use a value that was not sent', {
    path: error?.path ?? [],
  })
}

function makeBrokenCell(error: DeferredError): object {
  const cell = {}
  Object.defineProperty(cell, 'v', {
    configurable: true,
    get() {
      throw deferred(error)
    },
    set(value: unknown) {
      Object.defineProperty(cell, 'v', { ...plain, value })
    },
  })
  return cell
}

function missingExport(module: ModuleReference, names: readonly string[]): ModuleLoadError {
  return new ModuleLoadError(
    `Cannot find ${names.join('.') || 'the exports'} in ${module.url} as it is in the process that sent it\n` +
      'To fix: make sure that both processes load the same file in the same way, and that it was not edited meanwhile',
    { url: module.url, canSendByValue: true },
  )
}

function makeBuffer({ bytes, maxByteLength }: Extract<GraphNode, { t: 'buffer' }>): ArrayBuffer {
  const options = maxByteLength === undefined ? undefined : { maxByteLength }
  const buffer = new (ArrayBuffer as new (length: number, options?: object) => ArrayBuffer)(
    bytes.length,
    options,
  )
  new Uint8Array(buffer).set(bytes)
  return buffer
}

function makeArguments(length: number): object {
  return (
    function collect(this: unknown) {
      // eslint-disable-next-line prefer-rest-params
      return arguments
    } as (...args: unknown[]) => object
  )(...Array.from({ length }))
}

function makeSymbol({ registered, wellKnown, id, description }: Extract<GraphNode, { t: 'symbol' }>): symbol {
  if (registered !== undefined) return Symbol.for(registered)
  if (wellKnown !== undefined) return Reflect.get(Symbol, wellKnown) as symbol
  return id === undefined ? Symbol(description) : symbolOf(id, description)
}

function makeImportMeta(url: string): object {
  const isFile = url.startsWith('file:')
  return {
    url,
    ...(isFile
      ? { filename: fileURLToPath(url), dirname: fileURLToPath(new URL('.', url)).replace(/[/\\]$/, '') }
      : {}),
    main: false,
    resolve: (specifier: string) =>
      /^\.{0,2}\//.test(specifier) || URL.canParse(specifier)
        ? new URL(specifier, url).href
        : resolveBare(specifier, url),
  }
}

function resolveBare(specifier: string, url: string): string {
  const path = requireFrom(url).resolve(specifier)
  return path.startsWith('/') || /^[A-Za-z]:/.test(path) ? new URL(`file://${path}`).href : `node:${path}`
}
