/**
 * Packs arrays whose elements are alike: numbers, booleans, short strings, records of one shape, tuples of one
 * length. Every check is made before the first byte is written, so a refusal leaves nothing behind.
 */
import { types } from 'node:util'
import { NEEDS_GRAPH } from './needs-graph.ts'
import { deltasOf, numberPlan, type NumberPlan } from './number-columns.ts'
import * as tags from './tags.ts'
import type { ValueWriter } from './value-writer.ts'
import { writtenShapeOf } from './written-shapes.ts'

const { isProxy } = types
const { getOwnPropertyDescriptor, getOwnPropertyNames, getOwnPropertySymbols, getPrototypeOf, isExtensible } =
  Object

const STRING_LENGTH_MAX = 255
/** Fewer strings are not worth a dictionary. */
const DICTIONARY_LENGTH_MIN = 16
const RECORD_KEYS_MAX = 48
const TUPLE_LENGTH_MAX = 16
/** So many rows are looked at closely; the others are taken to be made like them (see README.md, Columns). */
const CHECKED_ROWS = 8

/** Writes the array as a column, or nothing at all. */
export function writeArrayAsColumn(writer: ValueWriter, values: readonly unknown[]): boolean {
  const plan = planFor(writer, values)
  if (plan === undefined) return false
  writer.writeByte(tags.COLUMN)
  writer.writeCount(values.length)
  writePlanned(writer, values, plan)
  return true
}

/** A field of records or tuples: like an array, but with a fallback for what is not alike. */
function writeField(writer: ValueWriter, values: readonly unknown[]): void {
  const plan = planFor(writer, values)
  if (plan !== undefined) {
    writePlanned(writer, values, plan)
    return
  }
  writer.writeByte(tags.COLUMN_GENERIC)
  for (const value of values) writer.write(value)
}

interface Plan extends NumberPlan {
  text?: string
  numbers?: ReadonlyMap<string, number>
  keys?: readonly string[]
  length?: number
}

const BOOLEAN_PLAN: Plan = { kind: tags.COLUMN_BOOLEANS }

function planFor(writer: ValueWriter, values: readonly unknown[]): Plan | undefined {
  const first = values[0]
  if (typeof first === 'number') return numberPlan(values)
  if (typeof first === 'string') return stringPlan(values)
  if (typeof first === 'boolean') {
    for (const value of values) if (typeof value !== 'boolean') return undefined
    return BOOLEAN_PLAN
  }
  if (typeof first !== 'object' || first === null || !writer.hasRoomForColumns() || isProxy(first))
    return undefined
  return Array.isArray(first) ? tuplePlan(writer, values, first) : recordPlan(writer, values, first)
}

/** Short strings: by number where few different ones come again and again, else end to end. */
function stringPlan(values: readonly unknown[]): Plan | undefined {
  const length = values.length
  let numbers: Map<string, number> | undefined = length >= DICTIONARY_LENGTH_MIN ? new Map() : undefined
  for (let i = 0; i < length; i++) {
    const value = values[i]
    if (typeof value !== 'string' || value.length > STRING_LENGTH_MAX) return undefined
    if (numbers !== undefined && !numbers.has(value)) {
      if (numbers.size >= 8 + (i >> 3) || numbers.size > 0xff) numbers = undefined
      else numbers.set(value, numbers.size)
    }
  }
  if (numbers !== undefined) return { kind: tags.COLUMN_DICTIONARY, numbers }
  return { kind: tags.COLUMN_STRINGS_LATIN1, text: values.join('') }
}

/** An ordinary object or array: nothing about it that a copy of its data would lose. */
function isOrdinary(row: object, keys: readonly string[]): boolean {
  if (!isExtensible(row) || getOwnPropertySymbols(row).length > 0) return false
  for (const key of keys) {
    const descriptor = getOwnPropertyDescriptor(row, key)!
    if (!descriptor.writable || !descriptor.enumerable || !descriptor.configurable) return false
  }
  return true
}

function recordPlan(writer: ValueWriter, values: readonly unknown[], first: object): Plan | undefined {
  const prototype: object | null = getPrototypeOf(first)
  if (prototype !== Object.prototype && !writer.isPlainInstance(first, prototype)) return undefined
  const keys = getOwnPropertyNames(first)
  const count = keys.length
  if (count === 0 || count > RECORD_KEYS_MAX) return undefined
  const length = values.length
  for (let i = 0; i < length; i++) {
    const row = values[i]
    if (typeof row !== 'object' || row === null || isProxy(row) || getPrototypeOf(row) !== prototype)
      return undefined
    if (i > 0) {
      const rowKeys = getOwnPropertyNames(row)
      if (rowKeys.length !== count) return undefined
      for (let k = 0; k < count; k++) if (rowKeys[k] !== keys[k]) return undefined
    }
    if ((i < CHECKED_ROWS || i === length - 1) && !isOrdinary(row, keys)) throw NEEDS_GRAPH
  }
  return writer.noteAll(values as readonly object[]) ? { kind: tags.COLUMN_RECORDS, keys } : undefined
}

function tuplePlan(
  writer: ValueWriter,
  values: readonly unknown[],
  first: readonly unknown[],
): Plan | undefined {
  const width = first.length
  if (width === 0 || width > TUPLE_LENGTH_MAX) return undefined
  const length = values.length
  for (let i = 0; i < length; i++) {
    const row = values[i]
    if (!Array.isArray(row) || row.length !== width || isProxy(row)) return undefined
    if (getPrototypeOf(row) !== Array.prototype) return undefined
    if (i < CHECKED_ROWS || i === length - 1) {
      const names = getOwnPropertyNames(row)
      if (names.length !== width + 1 || names[width] !== 'length' || !isExtensible(row)) return undefined
    } else {
      for (let k = 0; k < width; k++) if (row[k] === undefined && !Object.hasOwn(row, k)) return undefined
    }
  }
  return writer.noteAll(values as readonly object[]) ? { kind: tags.COLUMN_TUPLES, length: width } : undefined
}

function writePlanned(writer: ValueWriter, values: readonly unknown[], plan: Plan): void {
  switch (plan.kind) {
    case tags.COLUMN_DICTIONARY:
      writer.writeDictionaryColumn(values as readonly string[], plan.numbers!)
      return
    case tags.COLUMN_BOOLEANS:
      writer.writeByte(plan.kind)
      for (const value of values) writer.writeByte(value === true ? 1 : 0)
      return
    case tags.COLUMN_STRINGS_LATIN1:
      writer.writeStringColumn(values as readonly string[], plan.text!)
      return
    case tags.COLUMN_RECORDS:
      writeRecords(writer, values as readonly Record<string, unknown>[], plan.keys!)
      return
    case tags.COLUMN_TUPLES:
      writer.writeByte(plan.kind)
      writer.writeCount(plan.length!)
      writer.enterColumn()
      for (let k = 0; k < plan.length!; k++)
        writeField(writer, pick(values as readonly Record<number, unknown>[], k))
      writer.leaveColumn()
      return
    default:
      writeNumbers(writer, values as readonly number[], plan)
  }
}

function writeNumbers(writer: ValueWriter, values: readonly number[], { kind, deltaKind }: NumberPlan): void {
  if (deltaKind === undefined) {
    writer.writeNumberColumn(values, kind)
    return
  }
  writer.writeByte(tags.COLUMN_DELTAS)
  writer.writeByte(kind)
  writer.writeNumber(values[0]!)
  writer.writeNumberColumn(deltasOf(values, deltaKind), deltaKind)
}

function writeRecords(
  writer: ValueWriter,
  rows: readonly Record<string, unknown>[],
  keys: readonly string[],
): void {
  writer.writeByte(tags.COLUMN_RECORDS)
  writer.writeRowClass(rows[0]!)
  writer.writeShape(writtenShapeOf(keys))
  writer.enterColumn()
  for (const key of keys) writeField(writer, pick(rows, key))
  writer.leaveColumn()
}

function pick<K extends string | number>(rows: readonly Record<K, unknown>[], key: K): unknown[] {
  const column: unknown[] = []
  for (const row of rows) column.push(row[key])
  return column
}
