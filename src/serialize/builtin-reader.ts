/**
 * Rebuilds the objects that JavaScript and Node bring along. The pair of `builtin-writer.ts`.
 */
import { corrupt } from './byte-reader.ts'
import { BUFFER_VIEW } from './builtin-writer.ts'
import { readDomException, readError } from './error-reader.ts'
import { SerializeError } from '../errors.ts'
import { openSharedBuffer } from '../platform/shared-buffers.ts'
import { sharedHeap } from '../platform/shared-heap.ts'
import { viewConstructors, viewNames } from './prototype-kinds.ts'
import * as tags from './tags.ts'
import type { ValueReader } from './value-reader.ts'

export function readBuiltin(reader: ValueReader, tag: number): unknown {
  switch (tag) {
    case tags.MAP:
      return readMap(reader)
    case tags.SET:
      return readSet(reader)
    case tags.DATE:
      return reader.note(new Date(reader.readFloat64()))
    case tags.REGEXP:
      return readRegExp(reader)
    case tags.BOXED: {
      const number = reader.reserveNumber()
      const value = reader.read()
      if (value === null || typeof value === 'object' || value === undefined)
        throw corrupt('a boxed value is none')
      return reader.fillNumber(number, Object(value) as object)
    }
    case tags.ERROR:
      return readError(reader)
    case tags.DOM_EXCEPTION:
      return readDomException(reader)
    case tags.ARRAY_BUFFER:
      return reader.note(reader.readBytes())
    case tags.ARRAY_BUFFER_RESIZABLE:
      return readResizable(reader)
    case tags.BUFFER:
      return readBuffer(reader)
    case tags.TYPED_ARRAY:
      return readTypedArray(reader)
    case tags.VIEW:
      return readView(reader)
    case tags.SHARED_BUFFER:
      return reader.note(readSharedBuffer(reader))
    case tags.URL_VALUE: {
      const href = reader.readString()
      if (!URL.canParse(href)) throw corrupt('a URL is none')
      return reader.note(new URL(href))
    }
    case tags.URL_SEARCH_PARAMS:
      return reader.note(new URLSearchParams(reader.readString()))
    case tags.TEXT_ENCODER:
      return reader.note(new TextEncoder())
    case tags.TEXT_DECODER:
      return readTextDecoder(reader)
    default:
      throw corrupt(`unknown tag ${tag}`)
  }
}

function readMap(reader: ValueReader): Map<unknown, unknown> {
  const map = reader.note(new Map<unknown, unknown>())
  for (let count = reader.readCountOf(2); count > 0; count--) {
    const key = reader.read()
    map.set(key, reader.read())
  }
  return map
}

function readSet(reader: ValueReader): Set<unknown> {
  const set = reader.note(new Set<unknown>())
  for (let count = reader.readCountOf(1); count > 0; count--) set.add(reader.read())
  return set
}

function readRegExp(reader: ValueReader): RegExp {
  const number = reader.reserveNumber()
  const source = reader.readString()
  const flags = reader.readString()
  let value: RegExp
  try {
    value = new RegExp(source, flags)
  } catch (cause) {
    throw new SerializeError(
      `Cannot rebuild a value: this version of Node does not understand a regular expression with the flags "${flags}"\n` +
        'To fix: use the same version of Node on both sides',
      { code: 'ERR_NOT_DESERIALIZABLE', cause },
    )
  }
  reader.fillNumber(number, value)
  const lastIndex = reader.read()
  if (typeof lastIndex !== 'number') throw corrupt('a regular expression has no lastIndex')
  value.lastIndex = lastIndex
  return value
}

/** A `maxByteLength` reserves addresses only, but enough of them can exhaust even those. */
const RESERVED_BYTES_MAX = 2 ** 33

function readResizable(reader: ValueReader): ArrayBuffer {
  const maxByteLength = reader.readCount()
  const bytes = reader.isBeside()
    ? new Uint8Array(reader.readBytes())
    : reader.readRawView(reader.readCountOf(1))
  const { length } = bytes
  if (maxByteLength < length || maxByteLength > RESERVED_BYTES_MAX) throw corrupt('a buffer is too large')
  let buffer: ArrayBuffer
  try {
    buffer = new (ArrayBuffer as unknown as new (size: number, options: object) => ArrayBuffer)(length, {
      maxByteLength,
    })
  } catch (cause) {
    throw new SerializeError(
      `Cannot rebuild a value: no room for an ArrayBuffer that may grow to ${maxByteLength} bytes\n` +
        'To fix: send it with a smaller maxByteLength',
      { code: 'ERR_NOT_DESERIALIZABLE', cause },
    )
  }
  new Uint8Array(buffer).set(bytes)
  return reader.note(buffer)
}

/** Small ones come out of Node's pool as every small Buffer does, so none of them keeps the frame alive. */
function readBuffer(reader: ValueReader): Buffer {
  return reader.note(
    reader.isBeside()
      ? Buffer.from(reader.readBytes())
      : Buffer.from(reader.readRawView(reader.readCountOf(1))),
  )
}

function readTypedArray(reader: ValueReader): ArrayBufferView {
  const type = reader.readByte()
  const constructor = viewConstructorOf(type)
  const buffer = reader.readBytes()
  const length = buffer.byteLength
  const width = constructor.BYTES_PER_ELEMENT ?? 1
  if (length % width !== 0) throw corrupt('a typed array ends in the middle of an element')
  return reader.note(new constructor(buffer, 0, length / width))
}

function readSharedBuffer(reader: ValueReader): ArrayBufferLike {
  const kind = reader.readByte()
  if (kind === tags.SHARED_NAMED) {
    const name = reader.readString()
    const byteLength = reader.readCount()
    try {
      return openSharedBuffer({ kind: 'named', name, byteLength })
    } catch (cause) {
      throw new SerializeError(`Cannot rebuild a value: ${(cause as Error).message}`, {
        code: 'ERR_NOT_DESERIALIZABLE',
        cause,
      })
    }
  }
  if (kind === tags.SHARED_THREAD) {
    const id = reader.readCount()
    const buffer = reader.attachments[reader.readCount()]
    if (!(buffer instanceof SharedArrayBuffer)) throw corrupt('shared memory is missing')
    return openSharedBuffer({ kind: 'thread', id, buffer })
  }
  if (kind !== tags.SHARED_SEGMENT) throw corrupt('shared memory of an unknown kind')
  const block = { heap: reader.readCount(), index: reader.readCount(), generation: reader.readCount() | 0 }
  const byteLength = reader.readCount()
  if (block.heap !== sharedHeap().id || byteLength === 0) throw corrupt('shared memory of another program')
  return openSharedBuffer({ kind: 'segment', block, byteLength })
}

function viewConstructorOf(type: number): NonNullable<(typeof viewConstructors)[number]> {
  const constructor = viewConstructors[type]
  if (constructor !== undefined) return constructor
  if (type >= viewNames.length) throw corrupt('a typed array of an unknown type')
  throw new SerializeError(
    `Cannot rebuild a value: this version of Node has no ${viewNames[type]}\nTo fix: use the same version on both sides`,
    { code: 'ERR_NOT_DESERIALIZABLE' },
  )
}

function readView(reader: ValueReader): ArrayBufferView {
  const number = reader.reserveNumber()
  const type = reader.readByte()
  const tracksLength = reader.readByte() === 1
  const offset = reader.readCount()
  const length = reader.readCount()
  const buffer = reader.read()
  if (!(buffer instanceof ArrayBuffer) && !(buffer instanceof SharedArrayBuffer))
    throw corrupt('a view without a buffer')
  const constructor = type === BUFFER_VIEW ? undefined : viewConstructorOf(type)
  const width = constructor?.BYTES_PER_ELEMENT ?? 1
  if (offset % width !== 0 || offset + length * width > buffer.byteLength)
    throw corrupt('a view reaches too far')
  if (constructor === undefined)
    return reader.fillNumber(number, Buffer.from(buffer as ArrayBuffer, offset, length))
  return reader.fillNumber(number, new constructor(buffer, offset, tracksLength ? undefined : length))
}

function readTextDecoder(reader: ValueReader): InstanceType<typeof TextDecoder> {
  const encoding = reader.readString()
  const flags = reader.readByte()
  try {
    return reader.note(new TextDecoder(encoding, { fatal: (flags & 1) !== 0, ignoreBOM: (flags & 2) !== 0 }))
  } catch (cause) {
    throw new SerializeError(
      `Cannot rebuild a value: this version of Node has no TextDecoder for "${encoding}"\n` +
        'To fix: use the same version of Node on both sides',
      { code: 'ERR_NOT_DESERIALIZABLE', cause },
    )
  }
}
