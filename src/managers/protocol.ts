/**
 * What a client and the server of a manager say to each other, as frames: a header of nine bytes (kind, call, object)
 * and, for most kinds, one encoded value. README.md has the protocol. The header stands outside of the value, so that a
 * value which cannot be rebuilt fails its call and nothing else.
 */
import { ProcessError } from '../errors.ts'
import type { RingEnd } from '../transport/ring-connection.ts'

/** From a client. Arguments, leases and results are the encoded value of the frame. */
export type ToServer =
  /** `payload`: the name of the method, then its arguments. Object 0 is the server itself. */
  | { kind: 'call'; call: number; object: number; payload: Uint8Array }
  /** The call is no longer wanted. Its answer decides what became of it. */
  | { kind: 'abort'; call: number }
  /** One more proxy of the object is here; `payload`: the lease by which it came, or undefined. */
  | { kind: 'open'; object: number; payload: Uint8Array }
  /** One proxy less. */
  | { kind: 'release'; object: number }
  /** A proxy of the object is on its way to somebody; `payload`: the number of the lease. */
  | { kind: 'lease'; object: number; payload: Uint8Array }

/** From the server. Each call gets one of `answer`, `failure` and `aborted`. */
export type FromServer =
  | { kind: 'answer'; call: number; payload: Uint8Array }
  /** `payload`: what was thrown. */
  | { kind: 'failure'; call: number; payload: Uint8Array }
  | { kind: 'aborted'; call: number }
  /** The client is not served; the connection ends after it. `payload`: the error. */
  | { kind: 'refused'; payload: Uint8Array }

/** The first frame of a client: what it has. */
export interface Hello {
  /** The number of its shared heap, if that is memory of the system. */
  heap: number | undefined
}

/** The first frame of a server: who serves here, or why not. */
export interface Welcome {
  /** A number at random: a server that was started again at the same address is another one. */
  server: string
  pid: number
  /** Where the other frames are, for a client of the same shared heap. Without it, they are on the socket. */
  rings: RingEnd | undefined
  /** The client is not served; the connection ends after it. */
  refusal: Error | undefined
}

/** The object that stands for the server: it makes objects, counts them, and shuts down. */
export const SERVER_OBJECT = 0
/** From the end of the handshake to the first frame. */
export const HELLO_MS_MAX = 10_000
export const HELLO_BYTES_MAX = 1024
/** So many clients of one server have rings, of half a MiB each; the others use their sockets. */
export const RING_CLIENTS_MAX = 256
/** Clients of one server. A program may have that many processes and threads; the next is told `ERR_LIMIT`. */
export const CLIENTS_MAX = 1024
/** Calls of one client that are not answered yet. */
export const PENDING_CALLS_MAX = 65_536
/** Objects of one server. */
export const OBJECTS_MAX = 262_144
/** Proxies of one server that are on their way. Beyond it, the oldest lease ends. */
export const LEASES_MAX = 65_536
/** A proxy that has not arrived after so long does not keep its object any more. As elsewhere for what is on its way. */
export const LEASE_MS = 5 * 60_000
/** One message: a larger one ends the connection. */
export const FRAME_BYTES_MAX = 2 ** 30
/** Answers that a client does not read; it is let go of beyond. */
export const UNREAD_BYTES_MAX = 2 ** 30

const KINDS = [
  'refused',
  'call',
  'abort',
  'open',
  'release',
  'lease',
  'answer',
  'failure',
  'aborted',
] as const
type Kind = (typeof KINDS)[number]
const NUMBERS = Object.fromEntries(KINDS.map((kind, index) => [kind, index])) as Record<Kind, number>
const FROM_CLIENTS: ReadonlySet<string> = new Set(['call', 'abort', 'open', 'release', 'lease'])
const HEADER_BYTES = 9
const NOTHING = new Uint8Array(0)

/** A message as the bytes of a frame. */
export function encodeMessage(
  kind: Kind,
  call: number,
  object: number,
  payload: Uint8Array = NOTHING,
): Uint8Array {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + payload.length)
  bytes[0] = NUMBERS[kind]
  bytes.writeUInt32LE(call, 1)
  bytes.writeUInt32LE(object, 5)
  bytes.set(payload, HEADER_BYTES)
  return bytes
}

interface Message {
  kind: Kind
  call: number
  object: number
  payload: Uint8Array
}

function decodeMessage(frame: Uint8Array): Message {
  const kind = KINDS[frame[0] ?? KINDS.length]
  if (kind === undefined || frame.length < HEADER_BYTES) throw notOurs()
  return { kind, call: numberAt(frame, 1), object: numberAt(frame, 5), payload: frame.subarray(HEADER_BYTES) }
}

function numberAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

/** @throws ProcessError `ERR_PROTOCOL` for what no client says. */
export function decodeToServer(frame: Uint8Array): ToServer {
  const message = decodeMessage(frame)
  if (!FROM_CLIENTS.has(message.kind)) throw notOurs()
  return message as ToServer
}

/** @throws ProcessError `ERR_PROTOCOL` for what no server says. */
export function decodeFromServer(frame: Uint8Array): FromServer {
  const message = decodeMessage(frame)
  if (FROM_CLIENTS.has(message.kind)) throw notOurs()
  return message as FromServer
}

function notOurs(): ProcessError {
  return new ProcessError(
    'ERR_PROTOCOL',
    'Cannot go on with the connection to a manager: what arrived is no message\n' +
      'To fix: use the same version of multiproc on both sides',
  )
}
