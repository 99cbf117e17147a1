/**
 * Open descriptors as values: what is sent is kept open by the keeper, a thread of the addon in the first process of
 * the program, until it has been fetched. So it does not matter what becomes of the sender. The protocol is in
 * native/README.md, "Descriptors on their way".
 */
import { getSystemErrorName } from 'node:util'
import { ClosedError, ProcessError, TimeoutError } from '../errors.ts'
import { type Lease, leaseFor } from './in-flight.ts'
import { type KeeperAddon, nativeAddon, nativeStatus } from './native-addon.ts'
import { sharedHeap } from './shared-heap.ts'

/** Names a descriptor in a message. */
export interface DescriptorHandle {
  /** Of the program, so that a handle which strays into another one is noticed. */
  heap: number
  id: number
}

/** No more are kept at once, and no more than half of what the first process may have open. */
const KEPT_MAX = 4096
/** A descriptor that nobody fetches is closed after so long; after a fifth of it when there is no room for others. */
export const KEPT_MS = 300_000

/**
 * What a child has to inherit to send and receive descriptors. Opens the keeper if this is the first process.
 * `undefined` where that cannot be: then a descriptor is an error when it is sent.
 */
export function keeperDoor(): number | undefined {
  const door = keeperAddon()?.openKeeper(KEPT_MAX, KEPT_MS) ?? -1
  return door < 0 ? undefined : door
}

/** Says where a child finds the keeper. Before the first use. */
export function inheritKeeper(door: number | undefined): void {
  keeperAddon()?.joinKeeper(door ?? -1)
}

/** Leases for messages with several readers: one for each open file, so that messages that are equal have equal bytes. */
const shared = new WeakMap<object, SharedLease>()

class SharedLease implements Lease {
  readonly isReadOften = true
  readonly id: number
  readonly #identity: WeakRef<object>
  #messages = 1

  constructor(identity: object, id: number) {
    this.#identity = new WeakRef(identity)
    this.id = id
  }

  again(): this {
    this.#messages++
    return this
  }

  release(): void {
    if (--this.#messages > 0) return
    const identity = this.#identity.deref()
    if (identity !== undefined && shared.get(identity) === this) shared.delete(identity)
    keeperAddon()?.releaseDescriptor(this.id)
  }
}

/**
 * Keeps the descriptor of `object` for the readers of the message that is being written.
 *
 * @param options - `what` is how errors name it, such as "a Socket"; `identity` stands for the open file: another
 * connection of the same object has another one
 * @throws ProcessError `ERR_NOT_SUPPORTED` without the addon, `ERR_LIMIT` when there are too many; ClosedError and
 * TimeoutError when the first process has ended or does not answer.
 */
export function sendDescriptor(
  object: object,
  fd: number,
  { what, isReadOften, identity }: { what: string; isReadOften: boolean; identity: object },
): DescriptorHandle {
  const addon = addonFor(what)
  const heap = sharedHeap()
  const keep = (owner: number): number => {
    const door = addon.openKeeper(KEPT_MAX, KEPT_MS)
    const id = door < 0 ? door : addon.keepDescriptor(fd, owner)
    if (id < 0) throw keeperError(`send ${what}`, -id, { isOpening: door < 0 })
    return id
  }
  const { id } = leaseFor(object, () => {
    if (!isReadOften) {
      const once = keep(0)
      return { isReadOften: false, id: once, release: () => addon.releaseDescriptor(once) }
    }
    const known = shared.get(identity)?.again()
    if (known !== undefined) return known
    const lease = new SharedLease(identity, keep(heap.token))
    shared.set(identity, lease)
    return lease
  })
  return { heap: heap.id, id }
}

/**
 * The descriptor for a handle that arrived; it belongs to the caller, who closes it.
 *
 * @throws ClosedError when it is not kept any more; otherwise as `sendDescriptor()`.
 */
export function receiveDescriptor(handle: unknown, what: string): number {
  const { heap, id } = (handle ?? {}) as Partial<DescriptorHandle>
  if (!Number.isSafeInteger(heap) || !Number.isSafeInteger(id)) {
    throw new ProcessError(
      'ERR_NOT_DESERIALIZABLE',
      `Cannot rebuild ${what}: what arrived is no handle\nTo fix: use the same version of multiproc on both sides`,
    )
  }
  const addon = addonFor(what)
  if (heap !== sharedHeap().id) {
    throw new ClosedError(
      `Cannot receive ${what}: it belongs to another program\nTo fix: send it within one program only`,
    )
  }
  const fd = addon.fetchDescriptor(id!)
  if (fd < 0) throw keeperError(`receive ${what}`, -fd, { isOpening: false })
  return fd
}

/** Another descriptor for the same open file, or -1 when there cannot be one. */
export function duplicateDescriptor(fd: number): number {
  return keeperAddon()?.duplicate(fd) ?? -1
}

/** Closes a descriptor that arrived, when nothing else has taken it over. */
export function closeDescriptor(fd: number): void {
  keeperAddon()?.closeDescriptor(fd)
}

/** How many descriptors are kept in this process for others. */
export function keptDescriptors(): number {
  return keeperAddon()?.keptCount() ?? 0
}

function keeperAddon(): KeeperAddon | undefined {
  const addon = nativeAddon()
  return addon !== undefined && 'openKeeper' in addon ? (addon as KeeperAddon) : undefined
}

function addonFor(what: string): KeeperAddon {
  const addon = keeperAddon()
  // The heap may find out that the addon is of no use here.
  if (addon !== undefined && sharedHeap().isNative) return addon
  const status = nativeStatus()
  const reason = status.isOn ? 'Windows has no such messages' : `it is not used here (${status.reason})`
  throw new ProcessError(
    'ERR_NOT_SUPPORTED',
    `Cannot send ${what}: this needs the native addon, and ${reason}\n` +
      'To fix: install multiproc where its addon loads ("multiproc doctor" tells why it does not), ' +
      'or open it in the process that uses it',
  )
}

const NO_ROOM: ReadonlySet<string> = new Set(['ENOBUFS', 'EMFILE', 'ENFILE', 'ETOOMANYREFS', 'ENOMEM'])

function keeperError(action: string, errno: number, { isOpening }: { isOpening: boolean }): Error {
  const name = getSystemErrorName(-errno)
  if (NO_ROOM.has(name)) {
    return new ProcessError(
      'ERR_LIMIT',
      `Cannot ${action}: too many descriptors are open or on their way (${name})\n` +
        'To fix: send fewer at once, close what was sent, or raise the limit with "ulimit -n"',
    )
  }
  if (isOpening || name === 'ENOTCONN') {
    return new ProcessError(
      'ERR_NOT_SUPPORTED',
      `Cannot ${action}: the system refused what keeps it open on its way (${name})\n` +
        'To fix: allow socketpair() and threads in the sandbox of the first process of the program',
    )
  }
  switch (name) {
    case 'ENOENT':
      return new ClosedError(
        `Cannot ${action}: it is not kept any more. It was fetched already, or was on its way for more than ` +
          `${KEPT_MS / 1000} s, or its pool has ended\nTo fix: receive it in time, and send it again for each receiver`,
      )
    case 'EBADF':
      return new ClosedError(`Cannot ${action}: it is closed\nTo fix: close it after it was sent`)
    case 'ETIMEDOUT':
      return new TimeoutError(
        `Cannot ${action}: the first process of the program did not answer for 10 s\n` +
          'To fix: see whether it is stopped (SIGSTOP, a debugger)',
      )
    default:
      return new ClosedError(
        `Cannot ${action}: the first process of the program has ended, or has too many open files (${name})\n` +
          'To fix: keep it running, and raise its limit with "ulimit -n"',
      )
  }
}
