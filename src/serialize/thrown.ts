/**
 * What was thrown, to bytes and back. Encoding never throws: an error must always be able to tell its story.
 */
import { RemoteError } from '../errors.ts'
import { types } from 'node:util'
import { beginMessage, endMessage, sealMessage, unsendMessage } from '../platform/in-flight.ts'
import { decode } from './decode.ts'
import { encode } from './encode.ts'
import { ValueWriter } from './value-writer.ts'
import { describe } from './short-description.ts'

/** Where something was thrown, and who called. */
export interface ThrownOrigin {
  pid: number | undefined
  workerName: string
  /** The stack of the call on this side, as `new Error().stack` gives it. */
  callerStack?: string | undefined
}

/** Anything that can be thrown, as bytes. What cannot be sent is replaced by a short description. */
export function encodeThrown(thrown: unknown): Uint8Array<ArrayBuffer> {
  const attempts = [
    () => (isError(thrown) ? encodeLeniently(thrown) : encode(thrown)),
    () => encodeCopy(thrown),
  ]
  for (const attempt of attempts) {
    try {
      const bytes = attempt()
      if (bytes !== undefined) return bytes
    } catch {
      // The next attempt says less, but says it.
    }
  }
  const error = new Error(`Something was thrown that cannot leave its process: ${describe(thrown)}`)
  error.stack = `${error.name}: ${error.message}`
  return encodeLeniently(error)
}

function isError(thrown: unknown): boolean {
  return types.isNativeError(thrown) || (!types.isProxy(thrown) && thrown instanceof DOMException)
}

function encodeLeniently(error: unknown): Uint8Array<ArrayBuffer> {
  const writer = new ValueWriter()
  writer.isLenient = true
  const outer = beginMessage()
  try {
    const bytes = writer.writeMessage(error)
    sealMessage(bytes)
    return bytes
  } finally {
    endMessage(outer)
  }
}

/** A plain object without what could not be sent. */
function encodeCopy(thrown: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (types.isProxy(thrown) || typeof thrown !== 'object' || thrown === null || isError(thrown))
    return undefined
  const prototype: object | null = Object.getPrototypeOf(thrown)
  return prototype === null || prototype === Object.prototype ? encode(sendableCopy(thrown)) : undefined
}

function sendableCopy(thrown: object): object {
  const copy: Record<string, unknown> = {}
  for (const key of Object.keys(thrown)) {
    const value: unknown = Object.getOwnPropertyDescriptor(thrown, key)?.value
    let sendable = value
    try {
      unsendMessage(encode(value))
    } catch {
      sendable = describe(value)
    }
    Object.defineProperty(copy, key, {
      value: sendable,
      writable: true,
      enumerable: true,
      configurable: true,
    })
  }
  return copy
}

/** What was thrown in another process. An error remembers both stacks, and where it was, in its chain of causes. */
export function decodeThrown(bytes: Uint8Array, origin: ThrownOrigin): unknown {
  const thrown = decode(bytes)
  if (!(thrown instanceof Error)) return thrown
  const remoteStack = storyOf(thrown)
  addRemoteError(thrown, remoteStack, origin)
  addCallerStack(thrown, remoteStack, origin.callerStack)
  return thrown
}

/** Own data properties only: a class may have put accessors that throw in their place. */
function storyOf(error: Error): string {
  const stack: unknown = Object.getOwnPropertyDescriptor(error, 'stack')?.value
  if (typeof stack === 'string') return stack
  const message: unknown = Object.getOwnPropertyDescriptor(error, 'message')?.value
  return typeof message === 'string' ? `Error: ${message}` : 'Error'
}

/** The line between the stack of the worker and that of the caller. */
const CALLED_FROM = '    --- called from ---'

function addCallerStack(error: Error, remoteStack: string, callerStack: string | undefined): void {
  const frames = callerStack?.split('\n').filter(line => /^\s+at /.test(line)) ?? []
  if (frames.length === 0) return
  defineHidden(error, 'stack', [remoteStack, CALLED_FROM, ...frames].join('\n'))
}

function addRemoteError(error: Error, stack: string, { pid, workerName }: ThrownOrigin): void {
  const seen = new Set<unknown>()
  let last = error
  for (let link: unknown = error; link instanceof Error; link = causeOf(link)) {
    if (link instanceof RemoteError || seen.has(link)) return
    seen.add(link)
    last = link
  }
  // A cause that is no error cannot be followed; it is worth more than a note of where it happened.
  if (causeOf(last) !== undefined) return
  const place = pid === undefined ? workerName : `${workerName} (pid ${pid})`
  defineHidden(last, 'cause', new RemoteError(`Thrown in ${place}`, { pid, workerName, stack }))
}

function causeOf(error: Error): unknown {
  return Object.getOwnPropertyDescriptor(error, 'cause')?.value
}

/** Fails only for errors that code froze while they were rebuilt; then they stay as they are. */
function defineHidden(error: Error, key: string, value: unknown): void {
  Reflect.defineProperty(error, key, { value, writable: true, enumerable: false, configurable: true })
}
