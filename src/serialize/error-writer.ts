/**
 * Writes errors: class, message, stack and every own field, enumerable or not. In lenient mode a field that cannot
 * be sent becomes a short text, so that an error can always tell its story.
 */
import { describe } from './short-description.ts'
import { nearestSharedClass } from './error-classes.ts'
import type { Constructor } from './described-classes.ts'
import { encodeGraph } from './function/graph-encoder.ts'
import { NEEDS_GRAPH } from './needs-graph.ts'
import { SerializeError } from '../errors.ts'
import * as tags from './tags.ts'
import { Unsendable } from './unsendable.ts'
import type { ValueWriter } from './value-writer.ts'

/** Fields that are written apart from the rest. */
const WRITTEN_APART = new Set(['message', 'stack', 'name'])

export function writeError(writer: ValueWriter, error: Error, isDomException: boolean): void {
  if (isDomException) {
    writer.writeByte(tags.DOM_EXCEPTION)
    writer.writeString(error.name)
    writer.writeString(error.message)
    writeOptionalText(writer, stackOf(error))
    writeFields(writer, error)
    return
  }
  const { index, isExact } = nearestSharedClass(error)
  writer.writeTagged(tags.ERROR, index)
  const isClassKnown = isExact || writeErrorClass(writer, error)
  if (isExact) writer.writeByte(0)
  writeOptionalText(writer, ownText(error, 'message'))
  writeOptionalText(writer, ownText(error, 'name') ?? (isClassKnown ? undefined : lostName(error)))
  writeOptionalText(writer, stackOf(error))
  writeFields(writer, error)
}

/** 1 and the class, or 0 when it cannot be sent: then the error arrives as the nearest class that both sides have. */
function writeErrorClass(writer: ValueWriter, error: Error): boolean {
  const before = writer.checkpoint()
  const constructor: unknown = dataProperty(Object.getPrototypeOf(error) as object, 'constructor')
  if (typeof constructor === 'function' && constructor.prototype === Object.getPrototypeOf(error)) {
    try {
      writer.writeByte(1)
      writer.writeClass(constructor as unknown as Constructor)
      return true
    } catch (problem) {
      if (problem !== NEEDS_GRAPH && !(problem instanceof SerializeError)) throw problem
      writer.rollback(before)
    }
  }
  writer.writeByte(0)
  return false
}

/** The name of a class that stays behind. */
function lostName(error: Error): string | undefined {
  for (let link: object | null = error; link !== null; link = Object.getPrototypeOf(link)) {
    const name = dataProperty(link, 'name')
    if (typeof name === 'string' && name !== 'Error') return name
    const constructor = dataProperty(link, 'constructor')
    const className = typeof constructor === 'function' ? dataProperty(constructor, 'name') : undefined
    if (typeof className === 'string' && className !== '') return className
  }
  return undefined
}

function writeFields(writer: ValueWriter, error: object): void {
  const keys = Object.getOwnPropertyNames(error).filter(key => !WRITTEN_APART.has(key))
  writer.writeCount(keys.length)
  for (const key of keys) {
    const descriptor = Object.getOwnPropertyDescriptor(error, key)!
    writer.writeString(key)
    writer.writeByte(descriptor.enumerable ? 1 : 0)
    writeField(writer, error, key, descriptor)
  }
}

function writeField(writer: ValueWriter, error: object, key: string, descriptor: PropertyDescriptor): void {
  if (!writer.isLenient) {
    // An accessor would run code of the user here, or lose its meaning there.
    if (!('value' in descriptor)) throw NEEDS_GRAPH
    writer.write(descriptor.value)
    return
  }
  const before = writer.checkpoint()
  try {
    writer.write('value' in descriptor ? descriptor.value : (error as Record<string, unknown>)[key])
  } catch (problem) {
    writer.rollback(before)
    writeSubstitute(writer, descriptor.value, problem)
  }
}

/** What stands for a value that could not be written: its graph when it has one, else a short text. */
export function writeSubstitute(writer: ValueWriter, value: unknown, problem: unknown): void {
  if (problem === NEEDS_GRAPH) {
    const before = writer.checkpoint()
    try {
      writer.writeGraphOf(value, encodeGraph(value, {}))
      return
    } catch {
      writer.rollback(before)
    }
  }
  writer.writeString(problem instanceof Unsendable ? `[${problem.message}]` : describe(value))
}

function writeOptionalText(writer: ValueWriter, text: string | undefined): void {
  if (text === undefined) writer.writeByte(tags.UNDEFINED)
  else writer.writeString(text)
}

/** V8 makes `stack` a data property or an accessor, by version; `prepareStackTrace` of the user may throw. */
function stackOf(error: Error): string | undefined {
  try {
    const stack: unknown = error.stack
    return typeof stack === 'string' ? stack : undefined
  } catch {
    return undefined
  }
}

function ownText(error: object, key: string): string | undefined {
  const value = dataProperty(error, key)
  return value === undefined ? undefined : typeof value === 'string' ? value : describe(value)
}

function dataProperty(target: object, key: string): unknown {
  return Object.getOwnPropertyDescriptor(target, key)?.value
}
