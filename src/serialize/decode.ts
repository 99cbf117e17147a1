/**
 * Bytes to a value, in two steps: load the modules it needs, then rebuild it without waiting.
 */
import { beginArrival, endArrival } from '../platform/in-flight.ts'
import { corrupt } from './byte-reader.ts'
import { isStackOverflow } from './depth.ts'
import { loadModules } from './function/graph-decoder.ts'
import type { ModuleReference } from './function/graph-encoder.ts'
import type { ColumnArray } from './number-columns.ts'
import { readModules, ValueReader, type ReadOptions } from './value-reader.ts'

/**
 * Loads the ES modules that a message refers to. Returns `undefined` when nothing must be awaited, which is the
 * usual case.
 */
export function prepare(bytes: Uint8Array): Promise<void> | undefined {
  const modules = readModules(bytes)
  return modules === undefined ? undefined : loadModules(modules as ModuleReference[])
}

/**
 * Turns bytes back into the value; to be called after `prepare()`. What it returns shares no memory with `bytes`.
 *
 * @throws {SerializeError} With the code `ERR_NOT_DESERIALIZABLE` when the bytes are damaged.
 */
export function decode(bytes: Uint8Array, options?: ReadOptions): unknown {
  const outer = beginArrival()
  let isWhole = false
  try {
    const value = new ValueReader(bytes, options).readMessage()
    isWhole = true
    return value
  } catch (problem) {
    if (isStackOverflow(problem)) throw corrupt('it is nested too deeply')
    throw problem
  } finally {
    endArrival(outer, { isWhole })
  }
}

/**
 * The numbers of a message that is nothing but an array of numbers, without a box for any; `undefined` for every other
 * message. It may be a view of `bytes` or of memory for the next call: to be copied at once.
 */
export function decodeNumbers(bytes: Uint8Array): ColumnArray | undefined {
  return new ValueReader(bytes).readNumberMessage()
}
