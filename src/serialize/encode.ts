/**
 * A value to bytes: the fast path first, the graph encoder for the whole root when the fast path meets code.
 */
import { beginMessage, endMessage, sealMessage } from '../platform/in-flight.ts'
import { isStackOverflow, tooDeep } from './depth.ts'
import { encodeGraph, unchangingPayload } from './function/graph-encoder.ts'
import type { GraphPayload } from './function/module-reference.ts'
import { NEEDS_GRAPH } from './needs-graph.ts'
import { Unsendable, unsendableError } from './unsendable.ts'
import { type PlainData, ValueWriter } from './value-writer.ts'

export interface EncodeOptions {
  /**
   * Lets a value travel beside the bytes (SharedArrayBuffer, MessagePort, transferred ArrayBuffer): returns its
   * index, or undefined to refuse. Asked again for the same value, it must give the same answer. Without it, such a
   * value is a `SerializeError` that names it and its path.
   */
  attach?: ((value: object) => number | undefined) | undefined
  /** Lets the bytes of a buffer or view travel beside the message. Without it, they are part of it. */
  beside?: Beside | undefined
  /** Where large messages are written, instead of memory of the process. */
  largeMemory?: LargeMemory | undefined
  /** What the root is called in error paths, such as `argument 0 of resize`. */
  rootName?: string | undefined
  /** Whether code of this module is to be sent by value, because the receiver could not load it. */
  byValue?: ((url: string) => boolean) | undefined
  /** Whether several may read these bytes, or one more than once: what is kept for them lasts as long as they do. */
  isReadOften?: boolean | undefined
}

/** Memory for messages. Whoever gets a message that was written there lets go of it. */
export interface LargeMemory {
  /** It is not asked for less. */
  readonly bytesMin: number
  /** From the start of a buffer; `undefined` where there is none. */
  allocate(byteLength: number): Buffer | undefined
  /** No message is there. Also called for memory that is not of this kind. */
  free(buffer: ArrayBufferLike): void
}

/** Collects binary data that travels beside a message, while that is written. */
export interface Beside {
  /** The index of the bytes beside the message, or `undefined` where they are to be part of it. They are read later. */
  place(owner: object, bytes: Uint8Array): number | undefined
  /** The message is begun anew: whatever was placed or attached is not in it. */
  clear(): void
}

/** One writer is kept between calls; a call inside a call (from a reducer) makes one of its own. */
let idleWriter: ValueWriter | undefined

/**
 * Turns a value into bytes, which nobody changes afterwards.
 *
 * @throws {SerializeError} When the value, or something in it, cannot leave its process.
 */
export function encode(value: unknown, options: EncodeOptions = NO_OPTIONS): Uint8Array<ArrayBuffer> {
  const writer = idleWriter ?? new ValueWriter()
  idleWriter = undefined
  const outer = beginMessage()
  try {
    const bytes = write(writer, value, options)
    sealMessage(bytes)
    return bytes
  } finally {
    endMessage(outer)
    idleWriter = writer
  }
}

function write(writer: ValueWriter, value: unknown, options: EncodeOptions): Uint8Array<ArrayBuffer> {
  try {
    writer.options = options
    if (typeof value === 'function') return writeGraph(writer, value, options)
    return writer.writeMessage(value)
  } catch (problem) {
    if (problem === NEEDS_GRAPH) {
      options.beside?.clear()
      return writeGraph(writer, value, options)
    }
    throw explain(problem, value, options.rootName)
  }
}

/** A payload that the graph encoder gives again (of an import, or of a function without captures) is the same bytes. */
function writeGraph(writer: ValueWriter, value: unknown, options: EncodeOptions): Uint8Array<ArrayBuffer> {
  // What is kept for the next time must not lie in memory that is one receiver's.
  writer.options = typeof value === 'function' ? { ...options, largeMemory: undefined } : options
  const payload = encodeGraph(value, { ...options, pack: packPlainData })
  let bytes = writtenPayloads.get(payload)
  if (bytes === undefined) {
    bytes = writer.writeGraphMessage(payload)
    writtenPayloads.set(payload, bytes)
  }
  return bytes
}

/** What `encode()` gives for a function whenever it is called, where that has been found to stay the same. */
export function unchangingBytes(fn: (...args: never[]) => unknown): Uint8Array<ArrayBuffer> | undefined {
  const payload = unchangingPayload(fn)
  return payload && writtenPayloads.get(payload)
}

function packPlainData(value: object): PlainData | undefined {
  try {
    return new ValueWriter().writePlainData(value)
  } catch {
    // It is not plain. What exactly is wrong with it, if anything, the graph encoder says better.
    return undefined
  }
}

const writtenPayloads = new WeakMap<GraphPayload, Uint8Array<ArrayBuffer>>()

const NO_OPTIONS: EncodeOptions = Object.freeze({})

function explain(problem: unknown, root: unknown, rootName: string | undefined): unknown {
  if (problem instanceof Unsendable) return unsendableError(root, problem, rootName)
  return isStackOverflow(problem) ? tooDeep(rootName) : problem
}
