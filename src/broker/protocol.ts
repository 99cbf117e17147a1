/**
 * What a client and the broker of a home say to each other, as frames; README.md has the protocol. The first frame of a
 * connection proves that the client may speak, before anything else of it is looked at.
 */
import { timingSafeEqual } from 'node:crypto'
import { ProcessError } from '../errors.ts'
import type { HomeAddress } from '../platform/shared-heap.ts'
import { decode } from '../serialize/codec.ts'

/** From a client. */
export type ToHome =
  /** From now on `object` means what these bytes are decoded to at home: the real object. */
  | { kind: 'open'; object: number; bytes: Uint8Array }
  | { kind: 'call'; call: number; object: number; operation: string; args: readonly unknown[] }
  /** The call is no longer wanted. Its answer decides what became of it. */
  | { kind: 'abort'; call: number }
  /** Nobody uses `object` any more. */
  | { kind: 'close'; object: number }
  /** Answered when everything before it has been dealt with. */
  | { kind: 'ping'; call: number }

/**
 * What a client has said.
 *
 * @throws SerializeError for damaged bytes; ProcessError `ERR_PROTOCOL` for something else than a message.
 */
export function decodeToHome(frame: Uint8Array): ToHome {
  const message = (decode(frame) ?? {}) as Record<string, unknown>
  const isNumber = (name: string): boolean => Number.isSafeInteger(message[name])
  const checks: Record<ToHome['kind'], () => boolean> = {
    open: () => isNumber('object') && message['bytes'] instanceof Uint8Array,
    call: () =>
      isNumber('call') &&
      isNumber('object') &&
      typeof message['operation'] === 'string' &&
      Array.isArray(message['args']),
    abort: () => isNumber('call'),
    close: () => isNumber('object'),
    ping: () => isNumber('call'),
  }
  const kind = message['kind'] as ToHome['kind']
  if (Object.hasOwn(checks, kind) && checks[kind]()) return message as unknown as ToHome
  throw new ProcessError(
    'ERR_PROTOCOL',
    'Cannot serve a client: what it sent is no message\nTo fix: use the same version of multiproc on both sides',
  )
}

/** From the home. Each call gets one of the first three. */
export type FromHome =
  | { kind: 'answer'; call: number; value: unknown }
  | { kind: 'failure'; call: number; error: unknown }
  | { kind: 'aborted'; call: number }
  /** The client is not served; the connection ends after it. */
  | { kind: 'refused'; error: unknown }

/** Clients of one home: each needs one of the places for members. */
export const CLIENTS_MAX = 256
/** Calls of one client that are not answered yet. */
export const PENDING_CALLS_MAX = 65_536
/** Objects that one client has open. As many blocks does a heap have. */
export const OBJECTS_MAX = 4096
/** From a connection to its first frame. */
export const HELLO_MS_MAX = 10_000
/** "MPB" and the version of this protocol. */
const MAGIC = Buffer.from([0x4d, 0x50, 0x42, 1])
const SECRET_BYTES = 32
const PID_BYTES = 4
export const HELLO_BYTES = MAGIC.length + SECRET_BYTES + PID_BYTES

/** The first frame of a client: the secret, and its process id. */
export function encodeHello({ secret }: HomeAddress, pid: number): Uint8Array {
  const pidBytes = Buffer.alloc(PID_BYTES)
  pidBytes.writeUInt32LE(pid)
  return Buffer.concat([MAGIC, Buffer.from(secret, 'hex'), pidBytes])
}

/** The process id of a client that was given the address; `undefined` for the first frame of anybody else. */
export function readHello(frame: Uint8Array | undefined, address: HomeAddress): number | undefined {
  if (frame?.length !== HELLO_BYTES) return undefined
  const pid = Buffer.from(frame).readUInt32LE(HELLO_BYTES - PID_BYTES)
  return timingSafeEqual(frame, encodeHello(address, pid)) ? pid : undefined
}
