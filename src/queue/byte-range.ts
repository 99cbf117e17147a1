/** The part of bytes that a call of `sendBytes()` or `recvBytesInto()` means, with an error for one that is not inside. */
import { invalidArgument } from '../errors.ts'

/** The options of the calls that send and receive bytes. */
export const SEND_BYTES_OPTIONS = ['offset', 'size', 'timeout', 'signal']
export const RECV_BYTES_OPTIONS = ['maxLength', 'timeout', 'signal']
export const RECV_INTO_OPTIONS = ['offset', 'timeout', 'signal']

/** A copy of the bytes from `offset` on, `size` of them: nobody changes them while they wait for room. */
export function partOf(
  view: ArrayBufferView,
  { offset = 0, size }: { offset: number | undefined; size: number | undefined },
): Uint8Array {
  if (!ArrayBuffer.isView(view)) {
    throw invalidArgument(
      TypeError,
      'Cannot send bytes: they must be a Uint8Array or another view of memory\nTo fix: pass one, or use send()',
    )
  }
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  assertLength('offset', offset)
  if (offset > bytes.length) throw outside('offset', offset, bytes.length)
  const length = size ?? bytes.length - offset
  assertLength('size', length)
  if (offset + length > bytes.length) throw outside('size', length, bytes.length)
  return bytes.slice(offset, offset + length)
}

/** How many bytes of `target` are behind `offset`. */
export function roomIn(target: ArrayBufferView, offset: number): number {
  if (!ArrayBuffer.isView(target)) {
    throw invalidArgument(
      TypeError,
      'Cannot receive bytes: the target must be a Uint8Array or another view of memory\nTo fix: pass one, or use recvBytes()',
    )
  }
  assertLength('offset', offset)
  const room = target.byteLength - offset
  if (room < 0) throw outside('offset', offset, target.byteLength)
  return room
}

export function assertLength(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return
  throw invalidArgument(
    RangeError,
    `"${name}" must be a whole number from 0 on, got ${String(value)}\nTo fix: pass such a number`,
  )
}

function outside(name: string, value: number, length: number): Error {
  return invalidArgument(
    RangeError,
    `"${name}" is ${value}, which leads out of the ${length} bytes\nTo fix: stay inside of them`,
  )
}
