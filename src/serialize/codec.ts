/**
 * Values to bytes and back: the public face of this layer. The format is described in README.md, step by step.
 */
import { FLAG_MODULES, FLAG_REDUCED } from './tags.ts'
import { addReducer, type Reducer } from './reducers.ts'

export { decode, decodeNumbers, prepare } from './decode.ts'
export type { ClassScope } from './function/shared-classes.ts'
export { type Beside, encode, type EncodeOptions, type LargeMemory, unchangingBytes } from './encode.ts'
export type { Receiver, Reducer } from './reducers.ts'
export { decodeThrown, encodeThrown, type ThrownOrigin } from './thrown.ts'

/**
 * Whether a message can only be read where certain modules load or certain reducers are registered. Such values are
 * better sent each in a message of its own, so that one that cannot be read there spoils no other.
 */
export function dependsOnReceiver(bytes: Uint8Array): boolean {
  return ((bytes[1] ?? 0) & (FLAG_MODULES | FLAG_REDUCED)) !== 0
}

/**
 * Teaches this process how objects of a class travel. Both sides must register the same name, as with Python's
 * `copyreg.pickle`.
 *
 * @throws {TypeError} When a part is missing.
 * @throws {RangeError} When the name belongs to another type.
 */
export function registerReducer<T extends object>(reducer: Reducer<T>): void {
  addReducer(reducer)
}
