/**
 * Classes whose objects are shared: how each travels, what stands for it in a process that does not have the memory, and
 * what that may ask of the real one. Each class registers itself, so that this layer knows none of them.
 */
import { ClosedError, ProcessError } from '../errors.ts'
import { noOptions } from '../platform/bounded-wait.ts'
import { notKept } from '../platform/block-handle.ts'
import { assertHandle, blockNumberOf, handleOf, letGoNow } from '../platform/heap-objects.ts'
import { carry } from '../platform/in-flight.ts'
import { type BlockHandle, existingHeap, sharedHeap } from '../platform/shared-heap.ts'
import { type Receiver, addReducer } from '../serialize/reducers.ts'
import { homeAddress, isServedHere } from './home.ts'
import { type HomeLink, isWrittenFor, linkTo } from './home-link.ts'
import { forgetIfUnused } from './published-memory.ts'

/** What the home does for a client: called up to its first `await` as the member that the client is. */
export type Operation<T extends object> = (
  object: T,
  // oxlint-disable-next-line typescript/no-explicit-any -- what the methods of the remote form have sent
  args: readonly any[],
  signal: AbortSignal,
) => unknown

export type Operations<T extends object> = Readonly<Record<string, Operation<T>>>

/** One class of shared objects. */
export interface Shareable<T extends object> {
  type: abstract new (...parameters: never[]) => T
  name: string
  /** Of the class, so that a process which meets such an object for the first time can load it. */
  module: string
  /** What stands for the object in a message. Its handle comes from {@link handleToSend}. */
  encode(object: T, receiver: Receiver): unknown
  /** The real object, where the memory is. */
  decode(data: unknown): T
  /** The handle in what `encode` gave; `undefined` when the memory itself came along. Default: that itself. */
  handleIn?(data: unknown): BlockHandle | undefined
  /** Whether the real object can be had here, although the block can. Default: yes. */
  isWhole?(data: unknown): boolean
  /** What stands for it elsewhere. */
  makeRemote(data: unknown): T
  /** What the home is given to find the object again. Default: what arrived. */
  dataForHome?(data: unknown): unknown
  /** Called in the home when a client sends the object on. Default: its handle is counted as on its way. */
  noteSent?(object: T): void
  /** Other shared objects that this one uses for as long as it is used itself. Default: none. */
  partsOf?(object: T): readonly object[]
  /** Called in the home when a client does not use the object any more. Default: its blocks are released. */
  letGo?(object: T): void
  operations: Operations<T>
}

/** What a remote object is made of. */
interface Remote {
  readonly link: HomeLink
  readonly id: number
  /** What it arrived as. */
  readonly data: unknown
  readonly handle: BlockHandle
  readonly key: string
  readonly shareable: Shareable<object>
}

const remotes = new WeakMap<object, Remote>()
/** Remote objects that are here, by what they stand for. An entry goes when its object has been collected. */
const known = new Map<string, WeakRef<object>>()
const shareables = new Map<unknown, Shareable<object>>()
/** What every class has. */
const GENERAL: Operations<object> = { toString: (object: { toString(): string }) => object.toString() }
let collected: FinalizationRegistry<{ key: string; link: HomeLink; id: number }> | undefined

/** Registers a class. */
export function addShareable<T extends object>(given: Shareable<T>): void {
  const shareable = given as unknown as Shareable<object>
  const operations: Operations<object> = {
    ...GENERAL,
    noteSent: (object: object, [handle]: readonly unknown[]) => {
      if (shareable.noteSent === undefined) sharedHeap().noteSent(handle as BlockHandle)
      else shareable.noteSent(object)
    },
    ...shareable.operations,
  }
  shareables.set(given.type, { ...shareable, operations })
  addReducer<T>({
    type: given.type,
    name: given.name,
    module: given.module,
    encode: (object, receiver) => {
      const remote = remotes.get(object)
      return remote === undefined ? given.encode(object, receiver) : sendRemote(object, remote)
    },
    decode: data => {
      const handle = given.handleIn === undefined ? data : given.handleIn(data)
      if (handle === undefined) return given.decode(data)
      assertHandle(handle)
      if (isHere(handle) && given.isWhole?.(data) !== false) return given.decode(data)
      if (handle.home !== undefined) {
        // Here is its home, which has forgotten the memory: its handle was on its way for too long.
        if (isServedHere(handle.home)) throw notKept(isHere(handle))
        return arrive(shareable, data, handle) as T
      }
      if (isHere(handle)) throw notWhole(given.type.name)
      return given.decode(data)
    },
  })
}

function isHere(handle: BlockHandle): boolean {
  return existingHeap()?.id === handle.heap
}

/** What a client may ask of an object; `undefined` for what is not shared. */
export function operationsOf(object: object): Operations<object> | undefined {
  return shareables.get(object.constructor)?.operations
}

/** Other shared objects that one uses. */
export function partsOf(object: object): readonly object[] {
  return shareables.get(object.constructor)?.partsOf?.(object) ?? []
}

// ---- In the home ----

/** The handle of an object's block for `receiver`, who may be a process without the memory. */
export function handleToSend(object: object, receiver: Receiver): BlockHandle {
  const handle = handleOf(object)
  return withHome(handle, receiver)
}

/** A handle with the address of its home, where the receiver needs it. */
export function withHome(handle: BlockHandle, { isSameProcess }: Receiver): BlockHandle {
  if (isSameProcess || sharedHeap().isNative) return handle
  return { ...handle, home: homeAddress() }
}

/** For an object that the client of this member does not use any more; it cannot be used again. */
export function letGo(object: object): void {
  const shareable = shareables.get(object.constructor)
  if (shareable?.letGo !== undefined) shareable.letGo(object)
  else for (const handle of letGoNow(object)) forgetIfUnused(handle)
}

// ---- In a client ----

function arrive(shareable: Shareable<object>, data: unknown, handle: BlockHandle): object {
  const link = linkTo(handle.home!)
  const { heap, index, generation } = handle
  const key = `${shareable.name} ${heap} ${index} ${generation}`
  const here = known.get(key)?.deref()
  const remote = here && remotes.get(here)
  // One of a link that has ended stays so: what arrives now may be had again.
  if (remote?.link === link) {
    // Opened once more: at home it is the same object, and one handle less is on its way.
    countPartsOf(here!, link)
    link.open(here!, remote.id)
    return here!
  }
  const object = shareable.makeRemote(data)
  const id = link.newObject()
  remotes.set(object, { link, id, data, handle, key, shareable })
  known.set(key, new WeakRef(object))
  countPartsOf(object, link)
  link.open(object, id)
  collected ??= new FinalizationRegistry(({ key: gone, link: its, id: number }) => {
    if (known.get(gone)?.deref() === undefined) known.delete(gone)
    its.close(number)
  })
  collected.register(object, { key, link, id }, object)
  return object
}

/**
 * The parts of an object (the lock of a Condition) have been opened before it, and their handles counted as arrived. They
 * will be counted again when home opens the whole: so they are on their way once more until then.
 */
function countPartsOf(whole: object, link: HomeLink): void {
  for (const part of partsOf(whole)) {
    const remote = remotes.get(part)
    // When this fails, the link has ended or the part could not be opened: calls of the part will be told.
    if (remote?.link === link) callLater(part, 'noteSent', [remote.handle]).catch(() => {})
  }
}

/** What is sent in the place of a remote object: what it arrived as. */
function sendRemote(object: object, { link, data, handle, shareable }: Remote): unknown {
  if (isWrittenFor(link)) return shareable.dataForHome?.(data) ?? data
  // The message leaves when the home has counted the handle: its receiver may be quicker than a word of ours.
  carry(object, () => callNow(object, 'noteSent', [handle]))
  return data
}

/** Tells shared objects apart, for people: the same number in all processes. */
export function numberOf(object: object): number | undefined {
  return remotes.get(object)?.handle.index ?? blockNumberOf(object)
}

/** Whether the object's memory is in another process. */
export function isRemote(object: object): boolean {
  return remotes.has(object)
}

function remoteOf(object: object): Remote {
  const remote = remotes.get(object)
  if (remote !== undefined) return remote
  throw new ClosedError(
    `Cannot use the ${object.constructor.name}: it is closed here\nTo fix: call close() when nothing here uses it any more`,
  )
}

/** Has the home do something with the real object. The promise settles as what it does. */
export function callLater(
  object: object,
  operation: string,
  args: readonly unknown[],
  signal?: AbortSignal,
): Promise<unknown> {
  const { link, id } = remoteOf(object)
  return link.later(object, id, operation, args, signal)
}

/** The same, blocking this thread. */
export function callNow(object: object, operation: string, args: readonly unknown[] = []): unknown {
  const { link, id } = remoteOf(object)
  return link.now(object, id, operation, args)
}

/** Ends the calls of an object that wait, as an abort signal would. */
export function abortCalls(object: object, operations: readonly string[], reason: unknown): void {
  remotes.get(object)?.link.abortCalls(object, operations, reason)
}

/** Its kind and state; also when its home has ended, because it is for people who look for a fault. */
export function remoteToString(object: object): string {
  const remote = remotes.get(object)
  if (remote === undefined || remote.link.end !== undefined) {
    return `<${object.constructor.name} of a process that has ended>`
  }
  try {
    return callNow(object, 'toString') as string
  } catch (error) {
    return `<${object.constructor.name}: ${(error as Error).message.split('\n')[0]}>`
  }
}

/** For one that is closed here while calls of it wait: its handle means a new object from now on. */
export function replaceRemote(object: object): void {
  const remote = remotes.get(object)
  if (remote !== undefined && known.get(remote.key)?.deref() === object) known.delete(remote.key)
}

/** For one that is closed here, and no call of it waits. */
export function forgetRemote(object: object): void {
  const remote = remotes.get(object)
  if (remote === undefined) return
  replaceRemote(object)
  collected?.unregister(object)
  remote.link.close(remote.id)
  remotes.delete(object)
}

/** An object whose prototype is `form`, with the methods that stand for those of `type`. No constructor is called. */
export function remoteForm<T extends object>(
  type: abstract new (...parameters: never[]) => T,
  ...forms: (object & ThisType<T>)[]
): T {
  const form = Object.create(type.prototype as object) as T
  for (const each of forms) Object.defineProperties(form, Object.getOwnPropertyDescriptors(each))
  return form
}

/** Takes what cannot travel out of the options of a waiting call. */
export function withoutSignal(options: object = {}): {
  rest: object
  signal: AbortSignal | undefined
} {
  if (typeof options !== 'object' || options === null) throw noOptions(options)
  const { signal, ...rest } = options as { signal?: AbortSignal | undefined }
  return { rest, signal }
}

function notWhole(typeName: string): ProcessError {
  return new ProcessError(
    'ERR_NOT_SUPPORTED',
    `Cannot use the ${typeName} that arrived: its memory did not come with it\n` +
      'To fix: pass it as an argument, or install multiproc where its native addon loads ("multiproc doctor" tells why it does not)',
  )
}
