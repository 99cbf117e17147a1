/** Where the items of a ShareableList are in its memory, and how each is written. README.md has the format. */
import { inspect } from 'node:util'
import { ProcessError, invalidArgument } from '../errors.ts'
import type { SharedMemory } from './shared-memory.ts'

/** What can be an item of a ShareableList. */
export type ListItem = number | bigint | boolean | string | Uint8Array | null

const ALIGNMENT = 8
const FORMAT_BYTES = 8
/** Tells how to read a slot back: Python's "back transforms". */
const CODE = { plain: 0, text: 1, bytes: 2, null: 3 } as const
/** Begins our own part, which has 8 bytes for each item. */
const MAGIC = 0x4d_50_4c_31
const INT_MIN = -(2n ** 63n)
const INT_MAX = 2n ** 63n - 1n

/** The format of a slot that is made for this item, in Python's notation. */
export function itemFormat(item: unknown): string {
  if (item === null) return 'xxxxxx?x'
  switch (typeof item) {
    case 'boolean':
      return 'xxxxxxx?'
    case 'bigint':
      if (item >= INT_MIN && item <= INT_MAX) return 'q'
      throw invalidArgument(
        RangeError,
        `Cannot put an integer of more than 64 bits into a ShareableList\nTo fix: store it as text`,
      )
    case 'number':
      return Number.isSafeInteger(item) && !Object.is(item, -0) ? 'q' : 'd'
    case 'string':
    case 'object':
      return `${ALIGNMENT * (Math.floor(bytesOf(item).length / ALIGNMENT) + 1)}s`
    default:
      throw notAnItem(item)
  }
}

/** The bytes of text or bytes. */
function bytesOf(item: unknown): Uint8Array {
  let bytes: Uint8Array
  if (typeof item === 'string') {
    // In Node.js from 20 on, and in the types of ES2024.
    if (!(item as string & { isWellFormed(): boolean }).isWellFormed()) throw notAnItem(item)
    bytes = Buffer.from(item)
  } else if (item instanceof Uint8Array) bytes = item
  else throw notAnItem(item)
  if (`${bytes.length + ALIGNMENT}s`.length <= FORMAT_BYTES) return bytes
  throw invalidArgument(
    RangeError,
    `Cannot put ${bytes.length} bytes into one item of a ShareableList: at most 9,999,991 fit\n` +
      'To fix: use SharedMemory',
  )
}

function notAnItem(item: unknown): Error {
  const what = typeof item === 'string' ? 'text with half a surrogate pair' : inspect(item, { depth: 0 })
  return invalidArgument(
    TypeError,
    `Cannot put ${what} into a ShareableList\n` +
      'To fix: items are numbers, bigints, booleans, text, bytes (Uint8Array) and null',
  )
}

/** What a ShareableList needs of its items, wherever their memory is. */
export interface ListForm {
  readonly length: number
  /** The formats of all items, in Python's notation. */
  readonly format: string
  get(index: number): ListItem
  set(index: number, item: ListItem): void
}

export class ListLayout implements ListForm {
  readonly length: number
  readonly #memory: SharedMemory
  /** Where the slot of each item begins, counted from the first, and where the last one ends. */
  readonly #offsets: readonly number[]
  readonly #hasLengths: boolean

  private constructor(memory: SharedMemory, offsets: readonly number[], hasLengths: boolean) {
    this.#memory = memory
    this.length = offsets.length - 1
    this.#offsets = offsets
    this.#hasLengths = hasLengths
  }

  static byteLengthFor(formats: readonly string[]): number {
    const { magicAt } = partsFor(offsetsFor(formats))
    return magicAt + 8 + formats.length * 8
  }

  /** Lays a list out in fresh memory. */
  static write(memory: SharedMemory, formats: readonly string[]): ListLayout {
    const offsets = offsetsFor(formats)
    const view = new DataView(memory.buffer)
    view.setBigInt64(0, BigInt(formats.length), true)
    for (const [index, offset] of offsets.entries()) view.setBigInt64(8 + index * 8, BigInt(offset), true)
    view.setUint32(partsFor(offsets).magicAt, MAGIC, true)
    const layout = new ListLayout(memory, offsets, true)
    for (const [index, format] of formats.entries()) layout.#setFormat(index, format)
    return layout
  }

  /** Finds the items of a list that somebody else has made. */
  static read(memory: SharedMemory): ListLayout {
    const { size } = memory
    const view = new DataView(memory.buffer)
    const length = size >= 16 ? Number(view.getBigInt64(0, true)) : -1
    if (length < 0 || (length + 2) * 8 > size) throw noList(memory)
    const offsets = Array.from({ length: length + 1 }, (_, index) =>
      Number(view.getBigInt64(8 + index * 8, true)),
    )
    const { codesAt, magicAt } = partsFor(offsets)
    const isSorted = offsets.every(
      (offset, index) => offset % ALIGNMENT === 0 && offset >= (offsets[index - 1] ?? 0),
    )
    if (!isSorted || codesAt + length > size) throw noList(memory)
    const hasLengths = magicAt + 8 + length * 8 <= size && view.getUint32(magicAt, true) === MAGIC
    return new ListLayout(memory, offsets, hasLengths)
  }

  get #parts(): Parts {
    return partsFor(this.#offsets)
  }

  get format(): string {
    return Array.from({ length: this.length }, (_, index) => this.formatOf(index)).join('')
  }

  formatOf(index: number): string {
    const at = this.#parts.formatsAt + index * FORMAT_BYTES
    const bytes = this.#memory.buf.slice(at, at + FORMAT_BYTES)
    return Buffer.from(bytes).toString('latin1').replace(/\0+$/, '')
  }

  #setFormat(index: number, format: string): void {
    const bytes = new Uint8Array(FORMAT_BYTES)
    bytes.set(Buffer.from(format, 'latin1'))
    this.#memory.buf.set(bytes, this.#parts.formatsAt + index * FORMAT_BYTES)
  }

  #slot(index: number): Uint8Array {
    const { dataAt } = this.#parts
    return this.#memory.buf.subarray(dataAt + this.#offsets[index]!, dataAt + this.#offsets[index + 1]!)
  }

  get(index: number): ListItem {
    const slot = this.#slot(index)
    const code = this.#memory.buf[this.#parts.codesAt + index]
    if (code === CODE.null) return null
    if (code === CODE.text || code === CODE.bytes) {
      // A copy: what is decoded must not change meanwhile.
      const bytes = slot.slice(0, this.#lengthOf(index, slot))
      return code === CODE.bytes ? bytes : Buffer.from(bytes).toString()
    }
    const view = new DataView(slot.buffer, slot.byteOffset, slot.byteLength)
    const format = this.formatOf(index)
    if (format === 'xxxxxxx?') return view.getUint8(7) !== 0
    if (format === 'd') return view.getFloat64(0, true)
    const value = view.getBigInt64(0, true)
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value
  }

  set(index: number, item: ListItem): void {
    const slot = this.#slot(index)
    let format = itemFormat(item)
    let code: number = CODE.plain
    if (item === null) code = CODE.null
    else if (typeof item === 'string' || typeof item === 'object') {
      code = typeof item === 'string' ? CODE.text : CODE.bytes
      const bytes = bytesOf(item)
      if (bytes.length > slot.length) {
        throw invalidArgument(
          RangeError,
          `Cannot put ${bytes.length} bytes into item ${index} of a ShareableList: it has room for ${slot.length}\n` +
            'To fix: make the list with an item there that is as long as the longest',
        )
      }
      format = `${slot.length}s`
      slot.fill(0)
      slot.set(bytes)
      this.#setLength(index, slot, bytes.length)
    } else {
      const view = new DataView(slot.buffer, slot.byteOffset, slot.byteLength)
      slot.fill(0)
      if (typeof item === 'boolean') view.setUint8(7, item ? 1 : 0)
      else if (format === 'd') view.setFloat64(0, item as number, true)
      else view.setBigInt64(0, BigInt(item), true)
    }
    this.#setFormat(index, format)
    this.#memory.buf[this.#parts.codesAt + index] = code
  }

  /** Python takes zeros at the end for filling. Where we wrote the slot, it is known how many of them are content. */
  #lengthOf(index: number, slot: Uint8Array): number {
    let length = slot.length
    while (length > 0 && slot[length - 1] === 0) length--
    if (!this.#hasLengths) return length
    const at = this.#parts.magicAt + 8 + index * 8
    const view = new DataView(this.#memory.buffer, at, 8)
    const written = view.getUint32(0, true)
    return written >= length && written <= slot.length && view.getUint32(4, true) === hashOf(slot)
      ? written
      : length
  }

  #setLength(index: number, slot: Uint8Array, length: number): void {
    if (!this.#hasLengths) return
    const view = new DataView(this.#memory.buffer, this.#parts.magicAt + 8 + index * 8, 8)
    view.setUint32(0, length, true)
    view.setUint32(4, hashOf(slot), true)
  }
}

interface Parts {
  dataAt: number
  formatsAt: number
  codesAt: number
  magicAt: number
}

function partsFor(offsets: readonly number[]): Parts {
  const length = offsets.length - 1
  const dataAt = (length + 2) * 8
  const formatsAt = dataAt + offsets[length]!
  const codesAt = formatsAt + length * FORMAT_BYTES
  return { dataAt, formatsAt, codesAt, magicAt: Math.ceil((codesAt + length) / 8) * 8 }
}

function offsetsFor(formats: readonly string[]): number[] {
  const offsets = [0]
  for (const format of formats) {
    offsets.push(offsets.at(-1)! + (format.endsWith('s') ? parseInt(format) : ALIGNMENT))
  }
  return offsets
}

/** FNV-1a. Shows whether a program that knows nothing of our part has written the slot since. */
function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x0100_0193)
  return hash >>> 0
}

function noList({ name }: SharedMemory): ProcessError {
  return new ProcessError(
    'ERR_PROTOCOL',
    `Cannot attach a ShareableList to ${name === undefined ? 'shared memory' : `"${name}"`}: there is no list in it\n` +
      'To fix: attach to memory that ShareableList has made, here or in Python',
  )
}
