/**
 * Unpacks columns into ordinary arrays without holes. Every kind takes at least a byte of the frame for each row, so
 * no count can ask for more memory than the frame justifies.
 */
import { corrupt } from './byte-reader.ts'
import { type ColumnArray, sumsOf, typedSumsOf } from './number-columns.ts'
import { rowMakerOf, setProperty, type ReadShape } from './read-shapes.ts'
import * as tags from './tags.ts'
import type { ValueReader } from './value-reader.ts'

/** Strings are cut out of pieces of this many characters, so that one kept string pins little memory. */
const PIECE_CHARACTERS = 4096

/** An array that was written as a column. */
export function readColumn(reader: ValueReader): unknown[] {
  const count = reader.readCountOf(1)
  const kind = reader.readByte()
  if (isNumberKind(kind)) return reader.note(readNumbers(reader, kind, count))
  const array = reader.note([] as unknown[])
  readInto(reader, kind, count, array)
  return array
}

function isNumberKind(kind: number): boolean {
  return (kind >= tags.COLUMN_INT8 && kind <= tags.COLUMN_FLOAT64) || kind === tags.COLUMN_DELTAS
}

function readNumbers(reader: ValueReader, kind: number, count: number): number[] {
  if (kind !== tags.COLUMN_DELTAS) return reader.readNumbers(kind, count)
  const { sumKind, first, deltaKind } = readDeltaHead(reader)
  return sumsOf(first, reader.readNumberArray(deltaKind, count), sumKind === tags.COLUMN_FLOAT64)
}

function readDeltaHead(reader: ValueReader): { sumKind: number; first: number; deltaKind: number } {
  const sumKind = reader.readByte()
  const first = reader.read()
  const deltaKind = reader.readByte()
  if (typeof first !== 'number' || deltaKind < tags.COLUMN_INT8 || deltaKind > tags.COLUMN_INT32)
    throw corrupt(`a column of differences of kind ${deltaKind}`)
  return { sumKind, first, deltaKind }
}

/** An array that was written as a column of numbers, as a typed array; `undefined` for any other column. */
export function readNumberColumn(reader: ValueReader, count: number): ColumnArray | undefined {
  const kind = reader.readByte()
  if (!isNumberKind(kind)) return undefined
  if (kind !== tags.COLUMN_DELTAS) return reader.readNumberArray(kind, count)
  const { first, deltaKind } = readDeltaHead(reader)
  return typedSumsOf(first, reader.readNumberArray(deltaKind, count))
}

/** One field of all rows. */
function readField(reader: ValueReader, count: number): unknown[] {
  const kind = reader.readByte()
  if (isNumberKind(kind)) return readNumbers(reader, kind, count)
  const values: unknown[] = []
  readInto(reader, kind, count, values)
  return values
}

function readInto(reader: ValueReader, kind: number, count: number, target: unknown[]): void {
  if (count > reader.bytesLeft()) throw corrupt(`a column of ${count} does not fit`)
  switch (kind) {
    case tags.COLUMN_GENERIC:
      for (let i = 0; i < count; i++) target.push(reader.read())
      return
    case tags.COLUMN_BOOLEANS:
      for (let i = 0; i < count; i++) target.push(reader.readByte() !== 0)
      return
    case tags.COLUMN_DICTIONARY:
      readDictionary(reader, count, target)
      return
    case tags.COLUMN_STRINGS_LATIN1:
    case tags.COLUMN_STRINGS_UTF16:
      readStrings(reader, kind === tags.COLUMN_STRINGS_LATIN1, count, target)
      return
    case tags.COLUMN_RECORDS:
      readRecords(reader, count, target as object[])
      return
    case tags.COLUMN_TUPLES:
      readTuples(reader, count, target as unknown[][])
      return
    default:
      throw corrupt(`unknown column kind ${kind}`)
  }
}

function readDictionary(reader: ValueReader, count: number, target: unknown[]): void {
  const size = reader.readByte() + 1
  const texts: string[] = []
  for (let i = 0; i < size; i++) texts.push(reader.readString())
  for (let i = 0; i < count; i++) {
    const number = reader.readByte()
    if (number >= size) throw corrupt('a dictionary is too small')
    target.push(texts[number])
  }
}

/** One byte of length for each string, then all characters end to end. */
function readStrings(reader: ValueReader, isOneByte: boolean, count: number, target: unknown[]): void {
  const lengths = reader.readRawView(count)
  for (let from = 0; from < count;) {
    let to = from
    let characters = 0
    while (to < count && characters < PIECE_CHARACTERS) characters += lengths[to++]!
    const piece = isOneByte ? reader.readLatin1(characters) : reader.readUtf16(characters)
    for (let at = 0; from < to; from++) {
      const length = lengths[from]!
      target.push(piece.slice(at, at + length))
      at += length
    }
  }
}

/** Rows are numbered before their fields are read: a field may refer to any row. */
function readRecords(reader: ValueReader, count: number, target: object[]): void {
  if (reader.countsReferences) {
    readReferredRecords(reader, count, target)
    return
  }
  const prototype = readRowPrototype(reader)
  const shape = reader.readShape()
  const columns = readColumns(reader, shape.keys.length, count)
  const makeRows = rowMakerOf(shape, prototype, count)
  if (makeRows !== undefined) makeRows(columns, count, target)
  else {
    for (let i = 0; i < count; i++) target.push(newRow(prototype))
    columns.forEach((column, index) => fillField(target, shape, prototype, index, column))
  }
}

function readReferredRecords(reader: ValueReader, count: number, target: object[]): void {
  const numbers = count === 0 ? 0 : reader.reserveNumbers(count)
  const prototype = readRowPrototype(reader)
  const rows: object[] = []
  for (let i = 0; i < count; i++) {
    const row = newRow(prototype)
    reader.fillNumber(numbers + i, row)
    rows.push(row)
    target.push(row)
  }
  const shape = reader.readShape()
  reader.enterColumn()
  for (let index = 0; index < shape.keys.length; index++) {
    fillField(rows, shape, prototype, index, readField(reader, count))
  }
  reader.leaveColumn()
}

function readRowPrototype(reader: ValueReader): object | undefined {
  return reader.readByte() === 0 ? undefined : (reader.readClass().prototype as object)
}

function newRow(prototype: object | undefined): object {
  return prototype === undefined ? {} : (Object.create(prototype) as object)
}

function readColumns(reader: ValueReader, width: number, count: number): unknown[][] {
  const columns: unknown[][] = []
  reader.enterColumn()
  for (let k = 0; k < width; k++) columns.push(readField(reader, count))
  reader.leaveColumn()
  return columns
}

function fillField(
  rows: readonly object[],
  shape: ReadShape,
  prototype: object | undefined,
  index: number,
  column: readonly unknown[],
): void {
  const key = shape.keys[index]!
  const isUnsafe = shape.isUnsafe || prototype !== undefined
  for (let i = 0; i < rows.length; i++) setProperty(rows[i]!, key, column[i], isUnsafe)
}

function readTuples(reader: ValueReader, count: number, target: unknown[][]): void {
  const width = reader.readCountOf(1)
  const numbers = reader.reserveNumbers(count)
  for (let i = 0; i < count; i++) {
    const row: unknown[] = []
    reader.fillNumber(numbers + i, row)
    target.push(row)
  }
  // The target is the user's array from now on only when nothing can change it: rows are filled by index below.
  const columns = readColumns(reader, width, count)
  for (let i = 0; i < count; i++) {
    const row = target[i]!
    for (let k = 0; k < width; k++) row.push(columns[k]![i])
  }
}
