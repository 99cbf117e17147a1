/**
 * What the streams and subjects of shared state are called. Invariant: every part of a name is checked or made here, so
 * that no name of a user is more than one part of a subject.
 */
import { createHmac } from 'node:crypto'
import { invalidArgument } from '../errors.ts'
import { show } from '../pool/option-checks.ts'

/** What kind of object a key belongs to: lock, semaphore, event, barrier, dict, and what the library itself notes. */
export type StateKind = 'lock' | 'semaphore' | 'event' | 'barrier' | 'party' | 'dict' | 'own'

const objectNames = /^[A-Za-z0-9_-]{1,64}$/
/** Of a digest of 32: keys of one dict meet with a chance of 2^-64 once there are billions of them. */
const digestBytes = 20

/** @throws TypeError. */
export function checkStateName(what: string, name: unknown): string {
  if (typeof name === 'string' && objectNames.test(name)) return name
  throw invalidArgument(
    TypeError,
    `The name of ${what} must be 1 to 64 letters, digits, "_" or "-", but it is ${name === undefined ? 'not given' : show(name)}\nTo fix: pass such a name, the same in every program that shares it`,
  )
}

export class StateNames {
  readonly state: string
  /** The stream that keeps everything but the items of queues. */
  readonly stream: string

  constructor(state: string) {
    this.state = checkStateName('shared state', state)
    this.stream = `MP_S_${this.state}`
  }

  get subjects(): string {
    return `mp.s.${this.state}.>`
  }

  /** Where the state of an object is, or one part of it. */
  key(kind: StateKind, object: string, part?: string | number): string {
    return `mp.s.${this.state}.${kind}.${object}${part === undefined ? '' : `.${part}`}`
  }

  /** Nobody who has no key can tell from its subject what a key of a dict says, and a key may be of any length. */
  dictKey(dict: string, keyBytes: Uint8Array, secret: Buffer): string {
    const digest = createHmac('sha256', secret)
      .update(`multiproc dict 1\0${dict}\0`)
      .update(keyBytes)
      .digest()
    return this.key('dict', dict, digest.subarray(0, digestBytes).toString('hex'))
  }

  /** All parts of an object. */
  partsOf(kind: StateKind, object: string): string {
    return this.key(kind, object, '>')
  }

  /** "Look again": sent by whoever has changed what somebody may wait for. */
  poke(wake: string): string {
    return `mp.w.${this.state}.${wake}`
  }

  /** A name with "=" is no name of an object, so that no two queues of two states have the same stream. */
  queueStream(queue: string): string {
    return `MP_Q_${this.state}=${queue}`
  }

  queueItems(queue: string): string {
    return `mp.u.${this.state}.${queue}`
  }
}
