/**
 * Rebuilds errors without running any constructor of the user: a real error of a built-in class is given the
 * prototype and the fields that arrived. The pair of `error-writer.ts`.
 */
import { setStackTraceLimit } from '../platform/stack-text.ts'
import { corrupt } from './byte-reader.ts'
import { sharedErrorClasses } from './error-classes.ts'
import { remapStack } from './function/stack-remapping.ts'
import type { ValueReader } from './value-reader.ts'

export function readError(reader: ValueReader): Error {
  const number = reader.reserveNumber()
  const sharedClass = sharedErrorClasses[reader.readByte()]
  if (sharedClass === undefined) throw corrupt('an unknown class of error')
  const hasClass = reader.readByte() === 1
  const prototype = hasClass ? (reader.readClass().prototype as object) : (sharedClass.prototype as object)
  const error = bareError()
  if (Object.getPrototypeOf(error) !== prototype) Object.setPrototypeOf(error, prototype)
  reader.fillNumber(number, error)
  setHidden(error, 'message', reader.readOptionalString())
  setHidden(error, 'name', reader.readOptionalString())
  const stack = reader.readOptionalString()
  setHidden(error, 'stack', stack === undefined ? undefined : remapStack(stack))
  readFields(reader, error)
  return error
}

export function readDomException(reader: ValueReader): DOMException {
  const number = reader.reserveNumber()
  const name = reader.readString()
  const exception = withoutStack(() => new DOMException(reader.readString(), name))
  reader.fillNumber(number, exception)
  setHidden(exception, 'stack', reader.readOptionalString())
  readFields(reader, exception)
  return exception
}

/** A native error without a stack of its own: capturing one costs more than all the rest. */
function bareError(): Error {
  return withoutStack(() => new Error())
}

function withoutStack<T>(make: () => T): T {
  const before = Error.stackTraceLimit
  try {
    setStackTraceLimit(0)
    return make()
  } finally {
    setStackTraceLimit(before)
  }
}

function setHidden(error: object, key: string, value: string | undefined): void {
  if (value === undefined) Reflect.deleteProperty(error, key)
  else Object.defineProperty(error, key, { value, writable: true, enumerable: false, configurable: true })
}

function readFields(reader: ValueReader, error: object): void {
  for (let count = reader.readCountOf(3); count > 0; count--) {
    const key = reader.readString()
    const enumerable = reader.readByte() !== 0
    const value = reader.read()
    Object.defineProperty(error, key, { value, writable: true, enumerable, configurable: true })
  }
}
