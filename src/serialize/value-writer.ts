/**
 * Writes one value, in one pass, as tagged bytes. It runs no code of the user: accessors, proxies and everything else
 * that only code can carry make it give up with `NEEDS_GRAPH`, and the caller hands the whole root to the graph
 * encoder. What it wrote until then is forgotten, so the next message starts clean.
 */
import { types } from 'node:util'
import { fieldNames, hasExtraKeys, isDense, isIndex } from './array-keys.ts'
import { writeBuiltin } from './builtin-writer.ts'
import { ByteWriter, type RawBuffer, isLatin1 } from './byte-writer.ts'
import { writeArrayAsColumn } from './column-writer.ts'
import { SerializeError } from '../errors.ts'
import { describedClassOf, type Constructor, type DescribedClass } from './described-classes.ts'
import type { GraphPayload, ModuleReference } from './function/graph-encoder.ts'
import { kindOfPrototype, type BuiltinKind, type PrototypeKind } from './prototype-kinds.ts'
import type { Beside, LargeMemory } from './encode.ts'
import { NEEDS_GRAPH } from './needs-graph.ts'
import { COLUMN_ARRAYS, COLUMN_WIDTHS, IS_LITTLE_ENDIAN } from './number-columns.ts'
import { modulesOfReducer, receiverOf, reducerFor, type Reducer } from './reducers.ts'
import { handleToSend } from '../platform/shared-buffers.ts'
import { tooDeep } from './depth.ts'
import * as tags from './tags.ts'
import { adviceFor, Unsendable } from './unsendable.ts'
import { ViewedMemory } from './viewed-memory.ts'
import { writtenShapeOf, type WrittenShape } from './written-shapes.ts'

const { isProxy } = types
const { getOwnPropertyDescriptor, getOwnPropertyNames, getOwnPropertySymbols, getPrototypeOf, isExtensible } =
  Object

/** Objects with more keys than this are dictionaries: their keys are written in place. */
const SHAPE_KEYS_MAX = 48
/** Up to so many objects are looked for one by one; a Map is dearer than that. */
const LINEAR_IDENTITY_MAX = 16
/** Deeper objects are put off and written after the root, so that the stack stays flat. */
const DEFERRED_DEPTH = 200
/** Kinds that cannot be put off (errors, boxed values, reducers) may nest this deep. */
const DEPTH_MAX = 500
/** Shorter arrays gain nothing from being packed. */
const COLUMN_LENGTH_MIN = 4
/** Shorter arrays are written with all their holes. */
const SPARSE_LENGTH_MIN = 256

/** How values that are not plain bytes leave: see `EncodeOptions`. */
export interface WriterOptions {
  attach?: ((value: object) => number | undefined) | undefined
  beside?: Beside | undefined
  largeMemory?: LargeMemory | undefined
  rootName?: string | undefined
}

/** Shorter columns are written number by number: making a typed array costs more. */
const TYPED_SET_MIN = 24

/** What `writePlainData()` gives. */
export interface PlainData {
  bytes: Uint8Array<ArrayBuffer>
  /** Every object in it. */
  objects: ReadonlySet<object> | ReadonlyMap<object, unknown>
}

/** Where the writer stood: see `checkpoint()`. */
export interface Checkpoint {
  written: number
  notedCount: number
  shapeCount: number
  depth: number
  classCount: number
  moduleCount: number
  deferredCount: number
}

/** The built-ins that `writePlainData()` takes: those without code, memory or a stack. */
const PLAIN_BUILTINS: ReadonlySet<BuiltinKind> = new Set(['array', 'map', 'set', 'date', 'regexp'] as const)

let lastMessage = 0

const NO_OPTIONS: WriterOptions = Object.freeze({})

export class ValueWriter extends ByteWriter {
  options: WriterOptions = NO_OPTIONS
  /** When true, fields of errors that cannot be sent become a short text instead. */
  isLenient = false
  /** When true, whatever is not plain data is left to the graph encoder. */
  private isPlainOnly = false
  private message = 0
  private flags = 0
  private depth = 0
  private noted: (object | undefined)[] = []
  private notedCount = 0
  private ids: Map<object, number> | undefined
  private shapeCount = 0
  private classes: Constructor[] = []
  private modules: ModuleReference[] = []
  private deferred: object[] = []
  private attachments: Map<object, number | undefined> | undefined
  private viewedMemory: ViewedMemory | undefined
  private sharedBuffers: ReadonlySet<object> | undefined

  /** One whole message. */
  writeMessage(root: unknown): Uint8Array<ArrayBuffer> {
    try {
      this.beginMessage()
      this.write(root)
      if (this.deferred.length > 0) this.writeDeferred()
      const shared = this.viewedMemory?.sharedBuffers()
      if (shared === undefined) return this.finishMessage()
      // Views turned out to show the same memory, but were written apart: once more, with what is known now.
      const { options, isLenient } = this
      this.forget()
      options.beside?.clear()
      this.options = options
      this.isLenient = isLenient
      this.sharedBuffers = shared
      return this.writeMessage(root)
    } finally {
      this.forget()
    }
  }

  /** A message whose root only the graph encoder could describe. */
  writeGraphMessage(payload: GraphPayload): Uint8Array<ArrayBuffer> {
    try {
      this.beginMessage()
      this.writeGraph(payload)
      return this.finishMessage()
    } finally {
      this.forget()
    }
  }

  /**
   * A message of arrays, plain objects, maps, sets, dates and primitives, which means the same wherever it stands.
   * Anything else is `NEEDS_GRAPH`.
   */
  writePlainData(root: object): PlainData {
    this.isPlainOnly = true
    try {
      this.beginMessage()
      this.write(root)
      if (this.deferred.length > 0) this.writeDeferred()
      const objects = this.ids ?? new Set(this.noted.slice(0, this.notedCount) as object[])
      return { bytes: this.finishMessage(), objects }
    } finally {
      this.isPlainOnly = false
      this.forget()
    }
  }

  protected override memoryFor(byteLength: number): RawBuffer {
    const { largeMemory } = this.options
    const memory =
      largeMemory === undefined || byteLength < largeMemory.bytesMin
        ? undefined
        : largeMemory.allocate(byteLength)
    return memory === undefined ? super.memoryFor(byteLength) : (memory as RawBuffer)
  }

  protected override giveBack(memory: RawBuffer): void {
    this.options.largeMemory?.free(memory.buffer)
  }

  private beginMessage(): void {
    this.begin()
    this.message = ++lastMessage
    this.reserve(tags.HEADER_BYTES)
    this.position += tags.HEADER_BYTES
  }

  private finishMessage(): Uint8Array<ArrayBuffer> {
    if (this.modules.length > 0) {
      this.flags |= tags.FLAG_MODULES
      const at = this.position - this.start
      const modules = this.modules
      this.modules = []
      this.writeNested(modules)
      this.reserve(4)
      this.view.setUint32(this.position, at, true)
      this.position += 4
    }
    this.bytes[this.start] = tags.FORMAT_VERSION
    this.bytes[this.start + 1] = this.flags
    return this.finish()
  }

  private forget(): void {
    this.abandon()
    if (this.ids === undefined) {
      // They are few, and a call of fill() is dearer than that.
      for (let i = 0; i < this.notedCount; i++) this.noted[i] = undefined
    } else {
      this.noted = []
      this.ids = undefined
    }
    this.notedCount = 0
    this.flags = 0
    this.depth = 0
    this.shapeCount = 0
    if (this.classes.length > 0) this.classes = []
    if (this.modules.length > 0) this.modules = []
    if (this.deferred.length > 0) this.deferred = []
    this.attachments = undefined
    this.viewedMemory = undefined
    this.sharedBuffers = undefined
    this.options = NO_OPTIONS
    this.isLenient = false
  }

  /** A value with an identity table and shapes of its own, as a length and a message. */
  private writeNested(value: unknown): void {
    const nested = new ValueWriter().writeMessage(value)
    this.writeCount(nested.length)
    this.writeRaw(nested)
  }

  writeGraph(payload: GraphPayload): void {
    this.addModules(payload.modules)
    if (payload.needsReducer === true) this.flags |= tags.FLAG_REDUCED
    this.writeByte(tags.GRAPH)
    this.writeNested(payload.body)
  }

  /** The graph of one value inside a message; the value keeps the number it was given. */
  writeGraphOf(value: unknown, payload: GraphPayload): void {
    // Functions and symbols have no number of their own, but the reader counts every graph.
    this.findOrNote(typeof value === 'object' && value !== null ? value : {})
    this.writeGraph(payload)
  }

  /** False where the stack is already deep: packed rows cannot be put off. */
  hasRoomForColumns(): boolean {
    return this.depth < DEFERRED_DEPTH
  }

  enterColumn(): void {
    this.depth++
  }

  leaveColumn(): void {
    this.depth--
  }

  /** Whether the object is an instance that needs nothing but its class and its fields. */
  isPlainInstance(value: object, prototype: object | null): boolean {
    return !this.isPlainOnly && prototype !== null && this.kindOf(value, prototype).type === 'instance'
  }

  /** 0 for plain objects, 1 and the class for instances. */
  writeRowClass(row: object): void {
    const prototype: object = getPrototypeOf(row)
    if (prototype === Object.prototype) this.writeByte(0)
    else {
      this.writeByte(1)
      this.writeClass((prototype as { constructor: Constructor }).constructor)
    }
  }

  writeStringColumn(values: readonly string[], text: string): void {
    const isOneByte = isLatin1(text)
    const count = values.length
    this.writeByte(isOneByte ? tags.COLUMN_STRINGS_LATIN1 : tags.COLUMN_STRINGS_UTF16)
    this.reserve(count)
    for (let i = 0; i < count; i++) this.bytes[this.position + i] = values[i]!.length
    this.position += count
    if (isOneByte) this.writeLatin1(text)
    else this.writeUtf16(text)
  }

  /** The different strings, then one byte for each row. */
  writeDictionaryColumn(values: readonly string[], numbers: ReadonlyMap<string, number>): void {
    this.writeTagged(tags.COLUMN_DICTIONARY, numbers.size - 1)
    for (const text of numbers.keys()) this.writeString(text)
    const count = values.length
    this.reserve(count)
    if (numbers.size === 1) this.bytes.fill(0, this.position, this.position + count)
    else for (let i = 0; i < count; i++) this.bytes[this.position + i] = numbers.get(values[i]!)!
    this.position += count
  }

  writeNumberColumn(values: ArrayLike<number>, kind: number): void {
    const count = values.length
    const width = COLUMN_WIDTHS[kind]!
    this.writeByte(kind)
    if (width > 1) this.align()
    this.reserve(count * width)
    const at = this.position
    this.position = at + count * width
    if (count >= TYPED_SET_MIN && IS_LITTLE_ENDIAN) {
      new COLUMN_ARRAYS[kind]!(this.bytes.buffer as ArrayBuffer, at, count).set(values)
      return
    }
    const view = this.view
    for (let i = 0; i < count; i++) {
      const value = values[i]!
      if (width === 8) view.setFloat64(at + i * 8, value, true)
      else if (width === 4) view.setInt32(at + i * 4, value, true)
      else if (width === 2) view.setInt16(at + i * 2, value, true)
      else view.setInt8(at + i, value)
    }
  }

  /** Whether the buffer of a view must travel as a value of its own, because more than this view shows it. */
  sharesBuffer(view: ArrayBufferView, isBuffer: boolean): boolean {
    const buffer = view.buffer as ArrayBuffer & { resizable?: boolean }
    if (this.sharedBuffers?.has(buffer) || buffer.resizable) return true
    if (this.attachmentOf(buffer) !== undefined) return true
    this.viewedMemory ??= new ViewedMemory()
    this.viewedMemory.addView(view, isBuffer)
    return false
  }

  noteWholeBuffer(buffer: ArrayBuffer): void {
    this.viewedMemory ??= new ViewedMemory()
    this.viewedMemory.addWhole(buffer)
  }

  private addModules(modules: readonly ModuleReference[]): void {
    for (const module of modules) this.modules.push(module)
  }

  write(value: unknown): void {
    switch (typeof value) {
      case 'number':
        this.writeNumber(value)
        return
      case 'string':
        this.writeString(value)
        return
      case 'boolean':
        this.writeByte(value ? tags.TRUE : tags.FALSE)
        return
      case 'undefined':
        this.writeByte(tags.UNDEFINED)
        return
      case 'object':
        if (value === null) this.writeByte(tags.NULL)
        else this.writeObject(value)
        return
      case 'bigint':
        this.writeBigInt(value)
        return
      case 'symbol':
        this.writeSymbol(value)
        return
      case 'function':
        throw NEEDS_GRAPH
    }
  }

  writeNumber(value: number): void {
    this.reserve(9)
    if ((value | 0) === value && (value !== 0 || 1 / value > 0)) {
      if (value >= 0 && value < 128) this.bytes[this.position++] = tags.SMALL_INT + value
      else {
        this.bytes[this.position] = tags.INT32
        this.view.setInt32(this.position + 1, value, true)
        this.position += 5
      }
    } else {
      this.bytes[this.position] = tags.FLOAT64
      this.view.setFloat64(this.position + 1, value, true)
      this.position += 9
    }
  }

  writeString(value: string): void {
    const length = value.length
    if (length <= tags.SHORT_STRING_MAX) {
      this.reserve(length + 1)
      const bytes = this.bytes
      const at = this.position + 1
      let index = 0
      for (; index < length; index++) {
        const code = value.charCodeAt(index)
        if (code > 0xff) break
        bytes[at + index] = code
      }
      if (index === length) {
        bytes[this.position] = tags.SHORT_STRING + length
        this.position = at + length
        return
      }
    } else if (isLatin1(value)) {
      this.writeByte(tags.STRING_LATIN1)
      this.writeCount(length)
      this.writeLatin1(value)
      return
    }
    this.writeByte(tags.STRING_UTF16)
    this.writeCount(length)
    this.writeUtf16(value)
  }

  writeBigInt(value: bigint): void {
    this.writeByte(tags.BIGINT)
    this.writeString(value.toString(16))
  }

  private writeSymbol(value: symbol): void {
    const key = Symbol.keyFor(value)
    if (key !== undefined) {
      this.writeByte(tags.SYMBOL_REGISTERED)
      this.writeString(key)
      return
    }
    const description = value.description ?? ''
    if (description.startsWith('Symbol.')) {
      const name = description.slice('Symbol.'.length)
      if ((Symbol as unknown as Record<string, unknown>)[name] === value) {
        this.writeByte(tags.SYMBOL_WELL_KNOWN)
        this.writeString(name)
        return
      }
    }
    throw NEEDS_GRAPH
  }

  /** The number of `value` in the message when it was met before, else -1, and from now on it has one. */
  findOrNote(value: object): number {
    const count = this.notedCount
    if (this.ids === undefined) {
      const noted = this.noted
      for (let i = 0; i < count; i++) if (noted[i] === value) return i
      noted[count] = value
      this.notedCount = count + 1
      if (count + 1 === LINEAR_IDENTITY_MAX) this.ids = new Map(noted.map((item, index) => [item!, index]))
      return -1
    }
    const id = this.ids.get(value)
    if (id !== undefined) return id
    this.ids.set(value, count)
    this.notedCount = count + 1
    return -1
  }

  /** Gives the rows of a column their numbers, or none of them when one was met before. */
  noteAll(values: readonly object[]): boolean {
    this.ids ??= new Map(this.noted.slice(0, this.notedCount).map((item, index) => [item!, index]))
    const ids = this.ids
    const before = this.notedCount
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!
      if (ids.get(value) !== undefined) {
        for (let j = 0; j < i; j++) ids.delete(values[j]!)
        return false
      }
      ids.set(value, before + i)
    }
    this.notedCount = before + values.length
    return true
  }

  private writeReference(id: number): void {
    this.flags |= tags.FLAG_REFERENCES
    this.writeByte(tags.REFERENCE)
    this.writeCount(id)
  }

  writeObject(value: object): void {
    const id = this.findOrNote(value)
    if (id >= 0) {
      this.writeReference(id)
      return
    }
    this.writeNoted(value)
  }

  private writeNoted(value: object): void {
    if (isProxy(value)) throw this.refuse(value, 'Proxy')
    this.depth++
    if (this.depth > DEPTH_MAX) throw tooDeep(this.options.rootName)
    const prototype: object | null = getPrototypeOf(value)
    if (Array.isArray(value) && prototype === Array.prototype) this.writeArray(value)
    else if (prototype === Object.prototype) this.writePlain(value)
    else this.writeSpecial(value, prototype)
    this.depth--
  }

  refuse(value: unknown, kind: string): Unsendable {
    return new Unsendable(value, /^[AEIOU]/.test(kind) ? `an ${kind}` : `a ${kind}`, adviceFor(kind))
  }

  private writePlain(value: object): void {
    if (this.depth > DEFERRED_DEPTH) this.defer(value, tags.OBJECT)
    else {
      this.writeByte(tags.OBJECT)
      this.writeProperties(value)
    }
  }

  /** Leaves only a shell here; the contents follow the root. Read by the same step of `ValueReader`. */
  private defer(value: object, tag: number): void {
    this.flags |= tags.FLAG_REFERENCES | tags.FLAG_DEFERRED
    this.writeTagged(tags.DEFERRED, tag)
    this.deferred.push(value)
  }

  private writeDeferred(): void {
    // The queue grows while it is worked off. Both sides keep it in the same order, so no numbers are needed.
    for (let index = 0; index < this.deferred.length; index++) {
      const value = this.deferred[index]!
      this.depth = 1
      if (Array.isArray(value)) this.writeElements(value)
      else this.writeProperties(value)
    }
  }

  /** Own properties of an object by shape. Each one is looked at before its value is taken. */
  writeProperties(value: object): void {
    const keys = getOwnPropertyNames(value)
    const count = keys.length
    if (!isExtensible(value) || getOwnPropertySymbols(value).length > 0) throw NEEDS_GRAPH
    if (count > SHAPE_KEYS_MAX) {
      this.writeByte(1)
      this.writeCount(count)
      for (let i = 0; i < count; i++) {
        this.writeString(keys[i]!)
        this.write(this.dataOf(value, keys[i]!))
      }
      return
    }
    this.writeByte(0)
    this.writeShape(writtenShapeOf(keys))
    for (let i = 0; i < count; i++) {
      const descriptor = getOwnPropertyDescriptor(value, keys[i]!)!
      if (!descriptor.writable || !descriptor.enumerable || !descriptor.configurable) throw NEEDS_GRAPH
      this.write(descriptor.value)
    }
  }

  /** The value of a property, if it is an ordinary data property. */
  private dataOf(value: object, key: string): unknown {
    const descriptor = getOwnPropertyDescriptor(value, key)!
    if (!descriptor.writable || !descriptor.enumerable || !descriptor.configurable) throw NEEDS_GRAPH
    return descriptor.value
  }

  writeShape(shape: WrittenShape): void {
    if (shape.message === this.message) {
      this.writeCount(shape.index)
      return
    }
    shape.message = this.message
    shape.index = this.shapeCount++
    this.writeCount(shape.index)
    this.writeRaw(shape.definition)
  }

  private writeArray(value: readonly unknown[]): void {
    if (!isExtensible(value)) throw NEEDS_GRAPH
    if (hasExtraKeys(value)) {
      const keys = Object.keys(value).filter(key => !isIndex(key))
      if (keys.length > 0) {
        this.writeByte(tags.EXTRA_PROPERTIES)
        this.writePlainArray(value)
        this.writeNamed(value, keys)
        return
      }
    }
    this.writePlainArray(value)
  }

  /** The elements of an array, by column where they are alike. */
  writePlainArray(value: readonly unknown[]): void {
    if (this.depth > DEFERRED_DEPTH) {
      this.defer(value, tags.ARRAY)
      return
    }
    if (value.length >= COLUMN_LENGTH_MIN && writeArrayAsColumn(this, value)) return
    this.writeByte(tags.ARRAY)
    this.writeElements(value)
  }

  /** Elements one by one; a first byte tells dense (0) from sparse (1). */
  private writeElements(value: readonly unknown[]): void {
    const length = value.length
    if (length > SPARSE_LENGTH_MIN && !isDense(value)) {
      this.writeSparse(value)
      return
    }
    this.writeByte(0)
    this.writeCount(length)
    for (let i = 0; i < length; i++) {
      const item = value[i]
      if (item === undefined && !Object.hasOwn(value, i)) this.writeByte(tags.HOLE)
      else this.write(item)
    }
  }

  private writeSparse(value: readonly unknown[]): void {
    const indices = Object.keys(value).filter(isIndex)
    this.writeByte(1)
    this.writeCount(value.length)
    this.writeCount(indices.length)
    for (const index of indices) {
      this.writeCount(Number(index))
      this.write(value[Number(index)])
    }
  }

  /** Own data properties by name, for objects that have something else besides. */
  writeNamed(value: object, keys: readonly string[]): void {
    this.writeCount(keys.length)
    for (const key of keys) {
      this.writeString(key)
      this.write(this.dataOf(value, key))
    }
  }

  private writeSpecial(value: object, prototype: object | null): void {
    if (prototype === null) {
      if (types.isModuleNamespaceObject(value)) throw NEEDS_GRAPH
      this.writeByte(tags.OBJECT_NULL)
      this.writeProperties(value)
      return
    }
    const kind = this.kindOf(value, prototype)
    if (this.isPlainOnly && !isPlainKind(kind)) throw NEEDS_GRAPH
    switch (kind.type) {
      case 'plain':
        this.writePlain(value)
        return
      case 'builtin':
        writeBuiltin(this, value, kind.builtin)
        return
      case 'instance':
        this.writeInstance(value, kind.constructor)
        return
      case 'subclass':
        this.writeByte(tags.REPROTOTYPED)
        this.writeClass(kind.constructor)
        this.writeSubclass(value, kind.builtin)
        return
      case 'reduced':
        this.writeReduced(value, kind.reducer)
        return
      case 'unsendable':
        if (this.tryAttach(value)) return
        throw this.refuse(value, kind.name)
      case 'graph':
        throw NEEDS_GRAPH
    }
  }

  private kindOf(value: object, prototype: object): PrototypeKind | { type: 'reduced'; reducer: Reducer } {
    const reducer = reducerFor(value)
    return reducer === undefined ? kindOfPrototype(value, prototype) : { type: 'reduced', reducer }
  }

  private writeInstance(value: object, constructor: Constructor): void {
    if (this.depth > DEFERRED_DEPTH) {
      this.defer(value, tags.INSTANCE)
      this.writeClass(constructor)
      return
    }
    this.writeByte(tags.INSTANCE)
    this.writeClass(constructor)
    this.writeProperties(value)
  }

  /** A built-in with the prototype of a class, and the fields that the class gave it. */
  private writeSubclass(value: object, builtin: BuiltinKind): void {
    if (!isExtensible(value) || getOwnPropertySymbols(value).length > 0) throw NEEDS_GRAPH
    const keys = builtin === 'error' ? [] : fieldNames(value)
    if (keys.length > 0) this.writeByte(tags.EXTRA_PROPERTIES)
    if (builtin === 'array') this.writePlainArray(value as unknown[])
    else writeBuiltin(this, value, builtin)
    if (keys.length > 0) this.writeNamed(value, keys)
  }

  /** A class that can't be sent is left to the graph encoder, which knows the way to its instance. */
  private describe(constructor: Constructor): DescribedClass {
    try {
      return describedClassOf(constructor)
    } catch (error) {
      throw error instanceof SerializeError ? NEEDS_GRAPH : error
    }
  }

  /** The class's number in the message; its description follows where it is named for the first time. */
  writeClass(constructor: Constructor): void {
    const index = this.classes.indexOf(constructor)
    if (index >= 0) {
      this.writeCount(index)
      return
    }
    const described = this.describe(constructor)
    if (described.hasPrivateFields) throw NEEDS_GRAPH
    this.writeCount(this.classes.length)
    this.classes.push(constructor)
    this.addModules(described.payload.modules)
    described.encodedBody ??= new ValueWriter().writeMessage(described.payload.body)
    this.writeCount(described.encodedBody.length)
    this.writeRaw(described.encodedBody)
  }

  private writeReduced(value: object, reducer: Reducer): void {
    this.flags |= tags.FLAG_REDUCED
    this.addModules(modulesOfReducer(reducer))
    this.writeByte(tags.REDUCED)
    this.writeString(reducer.name)
    this.write(reducer.encode(value, receiverOf(this.options)))
  }

  /** Writes a handle in the place of a buffer whose memory the receiver can have, too. */
  tryShare(buffer: ArrayBufferLike): boolean {
    const handle = handleToSend(buffer, { isSameProcess: this.options.attach !== undefined })
    if (handle === undefined) return false
    this.flags |= tags.FLAG_REDUCED
    this.writeByte(tags.SHARED_BUFFER)
    if (handle.kind === 'segment') {
      const { heap, index, generation } = handle.block
      this.writeByte(tags.SHARED_SEGMENT)
      for (const number of [heap, index, generation >>> 0, handle.byteLength]) this.writeCount(number)
    } else if (handle.kind === 'named') {
      this.writeByte(tags.SHARED_NAMED)
      this.writeString(handle.name)
      this.writeCount(handle.byteLength)
    } else {
      this.writeByte(tags.SHARED_THREAD)
      this.writeCount(handle.id)
      this.writeCount(this.attachmentOf(handle.buffer)!)
    }
    return true
  }

  /** The bytes of a buffer or view: beside the message where they are many and the transport takes them. */
  writeBytes(owner: object, bytes: Uint8Array): void {
    const index = this.options.beside?.place(owner, bytes)
    if (index === undefined) this.writeCount(bytes.length)
    else {
      this.writeByte(tags.BESIDE)
      this.writeCount(index)
      this.writeCount(bytes.length)
      return
    }
    this.writeRaw(bytes)
  }

  /** Sends the value beside the bytes, if the transport can. */
  tryAttach(value: object): boolean {
    const index = this.attachmentOf(value)
    if (index === undefined) return false
    this.writeByte(tags.ATTACHMENT)
    this.writeCount(index)
    return true
  }

  /** The transport is asked once per value and message. */
  private attachmentOf(value: object): number | undefined {
    const { attach } = this.options
    if (attach === undefined) return undefined
    this.attachments ??= new Map()
    if (!this.attachments.has(value)) this.attachments.set(value, attach(value))
    return this.attachments.get(value)
  }

  /** A place to come back to with `rollback()` when a field turns out to be unsendable. */
  checkpoint(): Checkpoint {
    return {
      written: this.position - this.start,
      notedCount: this.notedCount,
      shapeCount: this.shapeCount,
      depth: this.depth,
      classCount: this.classes.length,
      moduleCount: this.modules.length,
      deferredCount: this.deferred.length,
    }
  }

  rollback(to: Checkpoint): void {
    this.position = this.start + to.written
    const noted = this.ids === undefined ? this.noted.slice(0, this.notedCount) : [...this.ids.keys()]
    for (const value of noted.slice(to.notedCount)) this.ids?.delete(value!)
    if (this.ids === undefined) this.noted.fill(undefined, to.notedCount, this.notedCount)
    this.notedCount = to.notedCount
    this.depth = to.depth
    this.classes.length = to.classCount
    this.modules.length = to.moduleCount
    this.deferred.length = to.deferredCount
    // Shapes that were defined in the part that is gone must be defined again. A new message number makes every
    // shape unknown, those before the checkpoint too: they get a second number, which costs bytes only.
    this.message = ++lastMessage
    this.shapeCount = to.shapeCount
  }
}

function isPlainKind(kind: PrototypeKind | { type: 'reduced' }): boolean {
  return kind.type === 'plain' || (kind.type === 'builtin' && PLAIN_BUILTINS.has(kind.builtin))
}
