/**
 * Writes the objects that JavaScript and Node bring along, through their internal state only: methods are taken from
 * the built-in prototypes, so that an override in a subclass can change nothing.
 */
import { types } from 'node:util'
import { isSharedBuffer } from '../platform/shared-buffers.ts'
import { writeError } from './error-writer.ts'
import { NEEDS_GRAPH } from './needs-graph.ts'
import { hasBrand, viewConstructors, viewNames, type BuiltinKind } from './prototype-kinds.ts'
import * as tags from './tags.ts'
import type { ValueWriter } from './value-writer.ts'

const getter = (prototype: object, key: string): ((this: unknown) => unknown) =>
  Object.getOwnPropertyDescriptor(prototype, key)!.get!

const typedArrayPrototype: object = Object.getPrototypeOf(Uint8Array.prototype)
const getTypeName = getter(typedArrayPrototype, Symbol.toStringTag as unknown as string)
const getSource = getter(RegExp.prototype, 'source')
const getFlags = getter(RegExp.prototype, 'flags')

export function writeBuiltin(writer: ValueWriter, value: object, builtin: BuiltinKind): void {
  if (builtin !== 'error' && !hasBrand(value, builtin)) throw NEEDS_GRAPH
  switch (builtin) {
    case 'array':
      writer.writePlainArray(value as unknown[])
      return
    case 'map':
      writeMap(writer, value as Map<unknown, unknown>)
      return
    case 'set':
      writeSet(writer, value as Set<unknown>)
      return
    case 'date':
      writer.writeByte(tags.DATE)
      writer.writeFloat64(Date.prototype.getTime.call(value))
      return
    case 'regexp':
      writer.writeByte(tags.REGEXP)
      writer.writeString(getSource.call(value) as string)
      writer.writeString(getFlags.call(value) as string)
      writer.write((value as RegExp).lastIndex)
      return
    case 'boxed':
      writer.writeByte(tags.BOXED)
      writer.write(unbox(value))
      return
    case 'error':
    case 'dom-exception':
      writeError(writer, value as Error, builtin === 'dom-exception')
      return
    case 'array-buffer':
      writeArrayBuffer(writer, value as ArrayBufferLike)
      return
    case 'buffer':
      writeBuffer(writer, value as Buffer)
      return
    case 'view':
      writeView(writer, value as ArrayBufferView)
      return
    case 'url':
      writer.writeByte(tags.URL_VALUE)
      writer.writeString((value as URL).href)
      return
    case 'url-search-params':
      writer.writeByte(tags.URL_SEARCH_PARAMS)
      writer.writeString(URLSearchParams.prototype.toString.call(value))
      return
    case 'text-encoder':
      writer.writeByte(tags.TEXT_ENCODER)
      return
    case 'text-decoder': {
      const decoder = value as InstanceType<typeof TextDecoder>
      writer.writeByte(tags.TEXT_DECODER)
      writer.writeString(decoder.encoding)
      writer.writeByte((decoder.fatal ? 1 : 0) | (decoder.ignoreBOM ? 2 : 0))
    }
  }
}

function writeMap(writer: ValueWriter, map: Map<unknown, unknown>): void {
  writer.writeByte(tags.MAP)
  writer.writeCount(map.size)
  Map.prototype.forEach.call(map, (item, key) => {
    writer.write(key)
    writer.write(item)
  })
}

function writeSet(writer: ValueWriter, set: Set<unknown>): void {
  writer.writeByte(tags.SET)
  writer.writeCount(set.size)
  Set.prototype.forEach.call(set, item => writer.write(item))
}

function unbox(value: object): unknown {
  if (types.isNumberObject(value)) return Number.prototype.valueOf.call(value)
  if (types.isStringObject(value)) return String.prototype.valueOf.call(value)
  if (types.isBooleanObject(value)) return Boolean.prototype.valueOf.call(value)
  if (types.isBigIntObject(value)) return BigInt.prototype.valueOf.call(value)
  return Symbol.prototype.valueOf.call(value)
}

interface ResizableBuffer extends ArrayBuffer {
  readonly resizable?: boolean
  readonly maxByteLength: number
  readonly detached?: boolean
}

function writeArrayBuffer(writer: ValueWriter, value: ArrayBufferLike): void {
  if (writer.tryShare(value) || writer.tryAttach(value)) return
  if (types.isSharedArrayBuffer(value)) throw writer.refuse(value, 'SharedArrayBuffer')
  const buffer = value as ResizableBuffer
  if (buffer.resizable) {
    writer.writeByte(tags.ARRAY_BUFFER_RESIZABLE)
    writer.writeCount(buffer.maxByteLength)
  } else writer.writeByte(tags.ARRAY_BUFFER)
  writer.noteWholeBuffer(buffer)
  writer.writeBytes(buffer, new Uint8Array(buffer))
}

/** A Buffer travels as its own bytes: what else is in Node's pool is nobody's business. */
function writeBuffer(writer: ValueWriter, value: Buffer): void {
  const buffer = value.buffer
  if (isSharedBuffer(buffer) || types.isSharedArrayBuffer(buffer) || writer.sharesBuffer(value, true)) {
    writeOverBuffer(writer, value, BUFFER_VIEW)
    return
  }
  writer.writeByte(tags.BUFFER)
  writer.writeBytes(value, value)
}

/** The view type of a Buffer, where the format names view types. */
export const BUFFER_VIEW = 255

function writeView(writer: ValueWriter, value: ArrayBufferView): void {
  const name = types.isDataView(value) ? 'DataView' : (getTypeName.call(value) as string)
  const type = viewNames.indexOf(name)
  const constructor = viewConstructors[type]
  if (constructor === undefined) throw writer.refuse(value, name)
  const { buffer } = value
  if (isSharedBuffer(buffer) || types.isSharedArrayBuffer(buffer) || writer.sharesBuffer(value, false)) {
    writeOverBuffer(writer, value, type)
    return
  }
  writer.writeTagged(tags.TYPED_ARRAY, type)
  writer.writeBytes(value, new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
}

/** A view on a buffer that is a value of its own: type, length tracking, offset, length, buffer. */
function writeOverBuffer(writer: ValueWriter, value: ArrayBufferView, type: number): void {
  const bytesPerElement = viewConstructors[type]?.BYTES_PER_ELEMENT ?? 1
  writer.writeTagged(tags.VIEW, type)
  writer.writeByte(tracksLength(value) ? 1 : 0)
  writer.writeCount(value.byteOffset)
  writer.writeCount(value.byteLength / bytesPerElement)
  writer.write(value.buffer)
}

/** Views without a fixed length grow with a resizable buffer. There is no direct question for it. */
function tracksLength(value: ArrayBufferView): boolean {
  const buffer = value.buffer as ResizableBuffer
  if (!buffer.resizable || value.byteOffset + value.byteLength !== buffer.byteLength) return false
  if (buffer.byteLength >= buffer.maxByteLength) return false
  const before = buffer.byteLength
  const growable = buffer as ResizableBuffer & { resize(size: number): void }
  // The bytes are put back at once; nobody else runs in between. 8 bytes are an element of the widest type.
  growable.resize(Math.min(buffer.maxByteLength, before + 8))
  const tracks = value.byteOffset + value.byteLength !== before
  growable.resize(before)
  return tracks
}
