/** A number of an open file as a value: each receiver gets a descriptor of its own for the same open file. */
import { inspect } from 'node:util'
import { ClosedError, invalidArgument } from '../errors.ts'
import {
  closeDescriptor,
  type DescriptorHandle,
  receiveDescriptor,
  sendDescriptor,
} from '../platform/descriptors.ts'
import { noteArrival } from '../platform/in-flight.ts'
import { addReducer } from '../serialize/reducers.ts'
// Sockets and servers travel wherever this does: children load it, and so does every program.
import './net-server.ts'
import './net-socket.ts'

/** What arrived and nobody has taken: closed when its object has been collected. */
const forgotten = new FinalizationRegistry<number>(closeDescriptor)
const arrived = new WeakSet<object>()
const descriptors = new WeakMap<object, number>()

/**
 * An open descriptor that can be sent: a file, a pipe, a device; sockets travel by themselves. As Python's
 * `multiprocessing.reduction.DupFd`.
 *
 * The sender's own descriptor stays open, and belongs to it as before. Sending needs the native addon.
 *
 * @example
 * ```ts
 * import { closeSync, openSync, readFileSync } from 'node:fs'
 * import { DupFd, Process } from 'multiproc'
 *
 * function firstLine(file: DupFd): string {
 *   const [line] = readFileSync(file.fd, 'utf8').split('\n')
 *   file.close()
 *   return line!
 * }
 *
 * const fd = openSync('package.json', 'r')
 * const child = new Process({ target: firstLine, args: [new DupFd(fd)] })
 * child.start()
 * closeSync(fd)
 * console.log(await child.result()) // {
 * ```
 */
export class DupFd {
  /**
   * @param fd - a number that `fs.openSync()` or the property `fd` of a FileHandle gives. It must be open when this is
   * sent.
   * @throws RangeError when that is no descriptor.
   */
  constructor(fd: number) {
    if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fff_ffff) {
      throw invalidArgument(
        RangeError,
        `"fd" must be the number of an open file, got ${String(fd)}\nTo fix: pass what fs.openSync() returned, or fileHandle.fd`,
      )
    }
    descriptors.set(this, fd)
  }

  /**
   * The descriptor, for as long as this object has it.
   *
   * @throws ClosedError when it was detached or closed.
   */
  get fd(): number {
    const fd = descriptors.get(this)
    if (fd === undefined) throw detached('use')
    return fd
  }

  /**
   * The descriptor, which belongs to the caller from now on: where it arrived, close it when it is no longer needed.
   *
   * @throws ClosedError when it was detached or closed before.
   */
  detach(): number {
    const { fd } = this
    descriptors.delete(this)
    forgotten.unregister(this)
    return fd
  }

  /** Closes a descriptor that arrived here, unless it was detached. That of the sender is not closed. */
  close(): void {
    const fd = descriptors.get(this)
    if (fd === undefined) return
    this.detach()
    if (arrived.has(this)) closeDescriptor(fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** What the console shows, as Python's `str()`. */
  toString(): string {
    return this[inspect.custom]()
  }

  [inspect.custom](): string {
    return `<DupFd ${descriptors.get(this) ?? 'detached'}>`
  }
}

function detached(action: 'use' | 'send'): ClosedError {
  return new ClosedError(
    `Cannot ${action} this DupFd: its descriptor was detached or closed before\nTo fix: make a new one with new DupFd(fd)`,
  )
}

addReducer<DupFd>({
  type: DupFd,
  name: 'multiproc.DupFd',
  module: import.meta.url,
  encode: (dupFd, { isReadOften }): DescriptorHandle => {
    const fd = descriptors.get(dupFd)
    if (fd === undefined) throw detached('send')
    return sendDescriptor(dupFd, fd, { what: 'a DupFd', isReadOften, identity: dupFd })
  },
  decode: handle => {
    const fd = receiveDescriptor(handle, 'a DupFd')
    const dupFd = new DupFd(fd)
    arrived.add(dupFd)
    forgotten.register(dupFd, fd, dupFd)
    noteArrival(() => dupFd.close())
    return dupFd
  },
})
