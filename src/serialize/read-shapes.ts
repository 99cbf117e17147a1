/**
 * The key lists of objects as the reader knows them: a bounded cache from the bytes of a definition to the keys and
 * to functions that make such objects. Every entry is compared byte by byte, so a wrong hash costs time only.
 */

const SLOTS = 1024
/** A definition longer than this is used once and not kept. */
const CACHED_DEFINITION_BYTES_MAX = 4096
/** Rows that were made by hand before it pays to compile a maker for the shape. */
const ROWS_BEFORE_COMPILING = 64
const COMPILED_KEYS_MAX = 64

/** Makes `count` objects from one column of values per key. */
export type RowMaker = (columns: readonly unknown[][], count: number, rows: unknown[]) => void

export interface ReadShape {
  readonly definition: Uint8Array
  readonly keys: readonly string[]
  /** True when plain assignment could hit something on `Object.prototype` instead of making a property. */
  readonly isUnsafe: boolean
  rowsMade: number
  makeRows: RowMaker | undefined
}

const slots = Array.from<ReadShape | undefined>({ length: SLOTS })
let canCompile = true

export function findReadShape(
  hash: number,
  bytes: Uint8Array,
  start: number,
  length: number,
): ReadShape | undefined {
  const shape = slots[hash & (SLOTS - 1)]
  if (shape === undefined || shape.definition.length !== length) return undefined
  const definition = shape.definition
  for (let i = 0; i < length; i++) if (definition[i] !== bytes[start + i]) return undefined
  return shape
}

export function addReadShape(hash: number, definition: Uint8Array, keys: readonly string[]): ReadShape {
  const shape: ReadShape = {
    definition,
    keys,
    isUnsafe: keys.some(key => key in Object.prototype),
    rowsMade: 0,
    makeRows: undefined,
  }
  if (definition.length <= CACHED_DEFINITION_BYTES_MAX) slots[hash & (SLOTS - 1)] = shape
  return shape
}

/** Sets one property as data, whatever its name. */
export function setProperty(target: object, key: string, value: unknown, isUnsafe: boolean): void {
  if (isUnsafe)
    Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true })
  else (target as Record<string, unknown>)[key] = value
}

/** A compiled maker, once the shape has made enough rows and where code may be made from strings. */
export function rowMakerOf(
  shape: ReadShape,
  prototype: object | undefined,
  count: number,
): RowMaker | undefined {
  if (prototype === undefined && shape.makeRows !== undefined) return shape.makeRows
  shape.rowsMade += count
  if (!canCompile || shape.rowsMade < ROWS_BEFORE_COMPILING || shape.keys.length > COMPILED_KEYS_MAX)
    return undefined
  if (prototype !== undefined) return instanceMakerOf(shape, prototype)
  shape.makeRows = compile(`rows.push({ ${fieldsOf(shape)} })`, shape)
  return shape.makeRows
}

/** Computed names define a property even for "__proto__", and JSON quotes every name safely. */
function fieldsOf(shape: ReadShape): string {
  return shape.keys.map((key, index) => `[${JSON.stringify(key)}]: c${index}[i]`).join(', ')
}

const instanceMakers = new WeakMap<object, Map<ReadShape, RowMaker | undefined>>()
/** Different sets of fields that instances of one class may have before makers are no longer kept for them. */
const MAKERS_PER_CLASS_MAX = 16

/** Rows of a class are made with `new` of a function that has the same prototype: twice as fast as Object.create. */
function instanceMakerOf(shape: ReadShape, prototype: object): RowMaker | undefined {
  // An accessor or a read-only property in the chain would catch the plain assignments below.
  if (shape.keys.some(key => key in prototype)) return undefined
  let makers = instanceMakers.get(prototype)
  if (makers === undefined) instanceMakers.set(prototype, (makers = new Map()))
  if (makers.has(shape)) return makers.get(shape)
  if (makers.size >= MAKERS_PER_CLASS_MAX) return undefined
  const parameters = shape.keys.map((_, index) => `v${index}`)
  const assignments = shape.keys.map((key, index) => `this[${JSON.stringify(key)}] = v${index}`)
  const values = shape.keys.map((_, index) => `c${index}[i]`)
  const maker = compile(
    `rows.push(new Row(${values.join(', ')}))`,
    shape,
    `function Row(${parameters.join(', ')}) { ${assignments.join('; ')} } Row.prototype = prototype`,
    prototype,
  )
  makers.set(shape, maker)
  return maker
}

function compile(body: string, shape: ReadShape, setup = '', prototype?: object): RowMaker | undefined {
  const names = shape.keys.map((_, index) => `c${index}`).join(', ')
  try {
    // oxlint-disable-next-line typescript/no-implied-eval -- The only input is JSON-quoted property names.
    const make = new Function(
      'prototype',
      `'use strict'; ${setup}; return function makeRows(columns, count, rows) {
        const [${names}] = columns
        for (let i = 0; i < count; i++) ${body}
      }`,
    ) as (prototype: object | undefined) => RowMaker
    return make(prototype)
  } catch {
    // `--disallow-code-generation-from-strings`: the plain way serves.
    canCompile = false
    return undefined
  }
}
