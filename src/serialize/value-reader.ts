/**
 * Rebuilds one value from a frame. Nothing in the frame is believed, and no code of the user runs, except registered
 * reducers and the code that a graph carries.
 */
import { readBuiltin } from './builtin-reader.ts'
import { ByteReader, corrupt } from './byte-reader.ts'
import { readColumn, readNumberColumn } from './column-reader.ts'
import { rebuiltClassOf, type Constructor } from './described-classes.ts'
import type { ClassOptions } from './function/payload-classes.ts'
import { SerializeError } from '../errors.ts'
import { decodeGraph } from './function/graph-decoder.ts'
import { addReadShape, findReadShape, setProperty, type ReadShape } from './read-shapes.ts'
import {
  COLUMN_ARRAYS,
  COLUMN_WIDTHS,
  type ColumnArray,
  IS_LITTLE_ENDIAN,
  packedArrayFrom,
} from './number-columns.ts'
import { registeredReducer } from './reducers.ts'
import * as tags from './tags.ts'

/** The writer puts off what lies deeper than 200, so only damaged frames come near. */
const DEPTH_MAX = 700
/** Shorter columns are read number by number: making a typed array costs more. */
const TYPED_READ_MIN = 24
const ARRAY_LENGTH_MAX = 0xffff_ffff

export interface ReadOptions extends ClassOptions {
  /** What travelled beside the bytes. */
  attachments?: readonly unknown[] | undefined
}

/** Memory that a value was made of already: no second one may share it. */
const given = new WeakSet<ArrayBuffer>()
const NO_ATTACHMENTS: readonly unknown[] = Object.freeze([])

export class ValueReader extends ByteReader {
  readonly attachments: readonly unknown[]
  private readonly options: ReadOptions
  /** The objects by number, when the message refers back to any. */
  private readonly references: unknown[] | undefined
  private readonly shapes: ReadShape[] = []
  private classes: Constructor[] | undefined
  private depth = 0
  private deferred: { target: object; isUnsafe: boolean }[] | undefined
  private readonly flags: number

  constructor(bytes: Uint8Array, options: ReadOptions = {}) {
    super(bytes)
    this.options = options
    this.attachments = options.attachments ?? NO_ATTACHMENTS
    this.flags = readHeader(this)
    if ((this.flags & tags.FLAG_MODULES) !== 0) this.end = moduleSection(bytes)
    this.references = (this.flags & tags.FLAG_REFERENCES) === 0 ? undefined : []
  }

  readMessage(): unknown {
    const value = this.read()
    if (this.deferred !== undefined) this.readDeferred(this.deferred)
    if (this.position !== this.end) throw corrupt('something follows the value')
    return value
  }

  /** A message that is one column of numbers; `undefined` for any other. */
  readNumberMessage(): ColumnArray | undefined {
    if (this.readByte() !== tags.COLUMN) return undefined
    const numbers = readNumberColumn(this, this.readCountOf(1))
    if (numbers !== undefined && this.position !== this.end) throw corrupt('something follows the value')
    return numbers
  }

  get countsReferences(): boolean {
    return this.references !== undefined
  }

  /** Gives an object its number, in the order in which the writer met them. */
  note<T>(value: T): T {
    this.references?.push(value)
    return value
  }

  /** Takes a number for an object that can only be made after its parts. */
  reserveNumber(): number {
    return this.references === undefined ? -1 : this.references.push(undefined) - 1
  }

  /** Takes `count` numbers in a row and returns the first. */
  reserveNumbers(count: number): number {
    const references = this.references
    if (references === undefined) return -1
    const first = references.length
    for (let i = 0; i < count; i++) references.push(undefined)
    return first
  }

  fillNumber<T>(number: number, value: T): T {
    if (this.references !== undefined) this.references[number] = value
    return value
  }

  /** Whether the bytes that follow travelled beside the message. */
  isBeside(): boolean {
    return this.bytes[this.position] === tags.BESIDE
  }

  /** The bytes of a buffer or view, in memory of their own. */
  readBytes(): ArrayBuffer {
    if (!this.isBeside()) return this.readRawCopy(this.readCountOf(1)).buffer
    this.readByte()
    const item = this.attachments[this.readCount()]
    const byteLength = this.readCount()
    if (item instanceof SharedArrayBuffer && item.byteLength === byteLength)
      return new Uint8Array(new Uint8Array(item)).buffer
    if (!(item instanceof ArrayBuffer) || item.byteLength !== byteLength || given.has(item))
      throw corrupt('large data is missing')
    given.add(item)
    return item
  }

  read(): unknown {
    const tag = this.readByte()
    if (tag >= tags.SMALL_INT) return tag - tags.SMALL_INT
    if (tag >= tags.SHORT_STRING) return this.readLatin1(tag - tags.SHORT_STRING)
    switch (tag) {
      case tags.NULL:
        return null
      case tags.TRUE:
        return true
      case tags.FALSE:
        return false
      case tags.UNDEFINED:
        return undefined
      case tags.INT32:
        return this.readInt32()
      case tags.FLOAT64:
        return this.readFloat64()
      case tags.STRING_LATIN1:
        return this.readLatin1(this.readCountOf(1))
      case tags.STRING_UTF16:
        return this.readUtf16(this.readCountOf(2))
      case tags.BIGINT:
        return this.readBigInt()
      case tags.SYMBOL_REGISTERED:
        return Symbol.for(this.readString())
      case tags.SYMBOL_WELL_KNOWN:
        return this.readWellKnownSymbol()
      case tags.REFERENCE:
        return this.readReference()
      default:
        return this.readObject(tag)
    }
  }

  readString(): string {
    const tag = this.readByte()
    if (tag >= tags.SHORT_STRING && tag < tags.SMALL_INT) return this.readLatin1(tag - tags.SHORT_STRING)
    if (tag === tags.STRING_LATIN1) return this.readLatin1(this.readCountOf(1))
    if (tag === tags.STRING_UTF16) return this.readUtf16(this.readCountOf(2))
    throw corrupt(`tag ${tag} where text belongs`)
  }

  readOptionalString(): string | undefined {
    if (this.bytes[this.position] === tags.UNDEFINED) {
      this.readByte()
      return undefined
    }
    return this.readString()
  }

  private readBigInt(): bigint {
    const digits = this.readString()
    if (!/^-?[0-9a-f]+$/.test(digits)) throw corrupt('a bigint is not one')
    return digits.startsWith('-') ? -BigInt(`0x${digits.slice(1)}`) : BigInt(`0x${digits}`)
  }

  private readWellKnownSymbol(): symbol {
    const name = this.readString()
    const symbol: unknown = Object.hasOwn(Symbol, name)
      ? (Symbol as unknown as Record<string, unknown>)[name]
      : undefined
    if (typeof symbol === 'symbol') return symbol
    throw new SerializeError(
      `Cannot rebuild a value: this version of Node has no Symbol.${name}\nTo fix: use the same version on both sides`,
      { code: 'ERR_NOT_DESERIALIZABLE' },
    )
  }

  private readReference(): unknown {
    const number = this.readCount()
    const references = this.references
    if (references === undefined || number >= references.length) throw corrupt('a reference leads nowhere')
    const value = references[number]
    if (value === undefined) throw corrupt('a reference leads to something unfinished')
    return value
  }

  private readObject(tag: number): unknown {
    if (++this.depth > DEPTH_MAX) throw corrupt('it is nested too deeply')
    const value = this.readObjectBody(tag)
    this.depth--
    return value
  }

  /** Rows in rows are as deep as objects in objects. */
  enterColumn(): void {
    if (++this.depth > DEPTH_MAX) throw corrupt('it is nested too deeply')
  }

  leaveColumn(): void {
    this.depth--
  }

  private readObjectBody(tag: number): unknown {
    switch (tag) {
      case tags.ARRAY:
        return this.readElements(this.note([]))
      case tags.OBJECT:
        return this.readProperties(this.note({}), false)
      case tags.OBJECT_NULL:
        return this.readProperties(this.note(Object.create(null) as object), false)
      case tags.INSTANCE: {
        const number = this.reserveNumber()
        const prototype = this.readClass().prototype as object
        return this.readProperties(this.fillNumber(number, Object.create(prototype) as object), true)
      }
      case tags.COLUMN:
        return readColumn(this)
      case tags.REPROTOTYPED: {
        const prototype = this.readClass().prototype as object
        const value = this.read()
        if (typeof value !== 'object' || value === null) throw corrupt('a prototype without an object')
        return Object.setPrototypeOf(value, prototype)
      }
      case tags.EXTRA_PROPERTIES: {
        const value = this.read()
        if (typeof value !== 'object' || value === null) throw corrupt('properties without an object')
        for (let count = this.readCountOf(2); count > 0; count--) {
          const key = this.readString()
          if (Array.isArray(value) && key === 'length') throw corrupt('a property that cannot be set')
          setProperty(value, key, this.read(), true)
        }
        return value
      }
      case tags.DEFERRED:
        return this.readShell()
      case tags.GRAPH: {
        const number = this.reserveNumber()
        return this.fillNumber(
          number,
          decodeGraph(this.readNested(), {
            ...this.options,
            attachments: this.attachments,
            unpack: bytes => new ValueReader(bytes).readMessage(),
          }),
        )
      }
      case tags.REDUCED:
        return this.readReduced()
      case tags.ATTACHMENT: {
        const index = this.readCount()
        if (index >= this.attachments.length) throw corrupt('an attachment is missing')
        return this.note(this.attachments[index])
      }
      default:
        return readBuiltin(this, tag)
    }
  }

  /** A value with an identity table of its own, as a length and a message. */
  private readNested(): unknown {
    const bytes = this.readRawView(this.readCountOf(1))
    return new ValueReader(bytes).readMessage()
  }

  private readReduced(): unknown {
    const number = this.reserveNumber()
    const name = this.readString()
    const data = this.read()
    return this.fillNumber(number, registeredReducer(name).decode(data))
  }

  /** The numbers of a column as an ordinary packed array. */
  readNumbers(kind: number, count: number): number[] {
    if (count >= TYPED_READ_MIN && IS_LITTLE_ENDIAN) return packedArrayFrom(this.readNumberArray(kind, count))
    const at = this.skipColumn(kind, count)
    return this.readNumbersOneByOne(kind, at, count)
  }

  /** The numbers of a column as they lie in the message, or a copy where they lie badly. */
  readNumberArray(kind: number, count: number): ColumnArray {
    const at = this.skipColumn(kind, count)
    if (!IS_LITTLE_ENDIAN) return Float64Array.from(this.readNumbersOneByOne(kind, at, count))
    const width = COLUMN_WIDTHS[kind]!
    const address = this.bytes.byteOffset + at
    // The sender aligned the column in its own memory; where the frame lies here is chance.
    return address % width === 0
      ? new COLUMN_ARRAYS[kind]!(this.bytes.buffer as ArrayBuffer, address, count)
      : new COLUMN_ARRAYS[kind]!(copyOf(this.bytes, at, this.position), 0, count)
  }

  /** Where a column of numbers begins. The position is then behind it. */
  private skipColumn(kind: number, count: number): number {
    const width = COLUMN_WIDTHS[kind]!
    if (width > 1) this.align()
    this.need(count * width)
    const at = this.position
    this.position = at + count * width
    return at
  }

  private readNumbersOneByOne(kind: number, at: number, count: number): number[] {
    const end = this.position
    const numbers: number[] = []
    this.position = at
    for (let i = 0; i < count; i++) {
      if (kind === tags.COLUMN_FLOAT64) numbers.push(this.readFloat64())
      else if (kind === tags.COLUMN_INT32) numbers.push(this.readInt32())
      else {
        const low = this.readByte()
        if (kind === tags.COLUMN_UINT8) numbers.push(low)
        else if (kind === tags.COLUMN_INT8) numbers.push((low << 24) >> 24)
        else {
          const both = low | (this.readByte() << 8)
          numbers.push(kind === tags.COLUMN_UINT16 ? both : (both << 16) >> 16)
        }
      }
    }
    this.position = end
    return numbers
  }

  readElements(target: unknown[]): unknown[] {
    if (this.readByte() !== 0) return this.readSparse(target)
    const count = this.readCountOf(1)
    for (let i = 0; i < count; i++) {
      if (this.bytes[this.position] === tags.HOLE) {
        this.position++
        target.length = i + 1
      } else target.push(this.read())
    }
    return target
  }

  private readSparse(target: unknown[]): unknown[] {
    const length = this.readCount()
    if (length > ARRAY_LENGTH_MAX) throw corrupt('an array is too long')
    const count = this.readCountOf(2)
    for (let i = 0; i < count; i++) {
      const index = this.readCount()
      if (index >= length) throw corrupt('an element lies outside its array')
      setProperty(target, String(index), this.read(), true)
    }
    target.length = length
    return target
  }

  readProperties<T extends object>(target: T, isInstance: boolean): T {
    if (this.readByte() !== 0) {
      for (let count = this.readCountOf(2); count > 0; count--) {
        const key = this.readString()
        setProperty(target, key, this.read(), isInstance || key in Object.prototype)
      }
      return target
    }
    const shape = this.readShape()
    const { keys, isUnsafe } = shape
    if (isInstance || isUnsafe) for (const key of keys) setProperty(target, key, this.read(), true)
    else for (let i = 0; i < keys.length; i++) (target as Record<string, unknown>)[keys[i]!] = this.read()
    return target
  }

  readShape(): ReadShape {
    const index = this.readCount()
    if (index < this.shapes.length) return this.shapes[index]!
    if (index > this.shapes.length) throw corrupt('a shape is used before it is defined')
    const hash = this.readInt32()
    const length = this.readInt32() >>> 0
    this.need(length + 4)
    const start = this.position - 8
    const known = findReadShape(hash, this.bytes, start, length + 12)
    if (known !== undefined) {
      this.position = start + length + 12
      this.shapes.push(known)
      return known
    }
    const count = this.readInt32() >>> 0
    if (count > length) throw corrupt('a shape has more keys than bytes')
    const keys: string[] = []
    for (let i = 0; i < count; i++) keys.push(this.readString())
    if (this.position !== start + length + 12 || new Set(keys).size !== count)
      throw corrupt('a shape is malformed')
    const shape = addReadShape(hash, new Uint8Array(copyOf(this.bytes, start, this.position)), keys)
    this.shapes.push(shape)
    return shape
  }

  readClass(): Constructor {
    this.classes ??= []
    const index = this.readCount()
    if (index < this.classes.length) return this.classes[index]!
    if (index > this.classes.length) throw corrupt('a class is used before it is described')
    const start = this.position
    const length = this.readCountOf(1)
    const bytes = this.readRawView(length)
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, length).toString('latin1')
    const rebuilt = rebuiltClassOf(key, this.options.classes, () => new ValueReader(bytes).readMessage())
    if (
      typeof rebuilt !== 'function' ||
      typeof rebuilt.prototype !== 'object' ||
      rebuilt.prototype === null
    ) {
      throw corrupt(`a class at ${start} is none`)
    }
    this.classes.push(rebuilt as Constructor)
    return rebuilt as Constructor
  }

  /** An empty object whose contents follow the root. The pair of `ValueWriter.defer()`. */
  private readShell(): object {
    const tag = this.readByte()
    let target: object
    if (tag === tags.ARRAY) target = this.note([])
    else if (tag === tags.OBJECT) target = this.note({})
    else if (tag === tags.INSTANCE) {
      const number = this.reserveNumber()
      target = this.fillNumber(number, Object.create(this.readClass().prototype as object) as object)
    } else throw corrupt('an object was put off that cannot be')
    this.deferred ??= []
    this.deferred.push({ target, isUnsafe: tag === tags.INSTANCE })
    return target
  }

  private readDeferred(deferred: { target: object; isUnsafe: boolean }[]): void {
    // Reading one may put off more; they are at the end of the same list.
    for (let index = 0; index < deferred.length; index++) {
      const { target, isUnsafe } = deferred[index]!
      this.depth = 1
      if (Array.isArray(target)) this.readElements(target)
      else this.readProperties(target, isUnsafe)
    }
  }
}

/** A copy in memory of its own: `slice` of a Buffer would be a view. */
function copyOf(bytes: Uint8Array, start: number, end: number): ArrayBuffer {
  const copy = new Uint8Array(end - start)
  copy.set(bytes.subarray(start, end))
  return copy.buffer
}

function readHeader(reader: ByteReader): number {
  const version = reader.readByte()
  if (version !== tags.FORMAT_VERSION)
    throw corrupt(`its format is ${version}, ${tags.FORMAT_VERSION} is expected`)
  const flags = reader.readByte()
  if ((flags & ~tags.FLAGS_ALL) !== 0) throw corrupt('unknown flags')
  return flags
}

/** Where the list of modules begins; it is also the end of the value. */
export function moduleSection(bytes: Uint8Array): number {
  const length = bytes.length
  if (length < tags.HEADER_BYTES + 4) throw corrupt('it ends too early')
  const at = new DataView(bytes.buffer, bytes.byteOffset + length - 4, 4).getUint32(0, true)
  if (at < tags.HEADER_BYTES || at > length - 4) throw corrupt('its list of modules lies outside')
  return at
}

/** The modules a message needs, without reading the rest of it. */
export function readModules(bytes: Uint8Array): unknown[] | undefined {
  if (bytes.length < tags.HEADER_BYTES || bytes[0] !== tags.FORMAT_VERSION) throw corrupt('it has no header')
  if ((bytes[1]! & tags.FLAG_MODULES) === 0) return undefined
  const section = new ByteReader(bytes.subarray(moduleSection(bytes), bytes.length - 4))
  const nested = section.readRawView(section.readCountOf(1))
  const modules = new ValueReader(nested).readMessage()
  if (!Array.isArray(modules)) throw corrupt('its list of modules is none')
  return modules
}
