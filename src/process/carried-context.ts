/**
 * `AsyncLocalStorage` across processes: the values of chosen storages go with calls and are the stores where these run.
 * Invariant: while no storage is registered, a call costs one look at the size of a map.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { ProcessError, invalidArgument } from '../errors.ts'
import { addReducer } from '../serialize/reducers.ts'
import { Unsendable } from '../serialize/unsendable.ts'

/** What {@link carryAcross} returns: it ends what that began. */
export interface Carrying extends Disposable {
  /** The storage is carried no more. A second time does nothing. */
  stop(): void
}

/** The stores at the time of a call, by the name of their storage. */
export type CarriedValues = Readonly<Record<string, unknown>>

type Storage = AsyncLocalStorage<unknown>

const namesMax = 64
const nameLengthMax = 100

/** That of the program, and the one that stands for it where it arrived before the program registered it there. */
interface Carried {
  own: Storage | undefined
  arrived: Storage | undefined
}

const carried = new Map<string, Carried>()
const nameOf = new WeakMap<object, string>()

/**
 * Carries the store of an `AsyncLocalStorage` into workers and other children: what `storage.getStore()` gives where a
 * call is made, it gives in the tasks of the call and behind their awaits.
 *
 * It is for every call of pools and executors, for the targets of `Process`, and for what these call in turn. The store
 * may be anything that can be sent, and is a copy there; `undefined` is not sent. All stores of a call may have 64 KiB
 * together. A function that uses the storage may be sent: it means the storage of that name there. In a module that
 * children load, call it at import.
 *
 * @param name - by which both sides know the storage
 * @throws TypeError for what is no name or no `AsyncLocalStorage`; ProcessError with code `ERR_ALREADY_EXISTS` for a name
 * that another storage has, `ERR_LIMIT` for more than 64 names. Calls throw SerializeError for a store that cannot be
 * sent, and `ERR_LIMIT` for stores that are too large.
 *
 * @example
 * ```ts
 * import { AsyncLocalStorage } from 'node:async_hooks'
 * import { Pool, carryAcross } from 'multiproc'
 *
 * const request = new AsyncLocalStorage<{ id: number }>()
 * carryAcross('request', request)
 *
 * const pool = new Pool(2)
 * const idInWorker = await request.run({ id: 7 }, () => pool.apply(() => request.getStore()?.id))
 * console.log(idInWorker) // 7
 * await pool.terminate()
 * ```
 */
export function carryAcross<T>(name: string, storage: AsyncLocalStorage<T>): Carrying {
  if (typeof name !== 'string' || name === '' || name.length > nameLengthMax) {
    throw invalidArgument(
      TypeError,
      `carryAcross() takes a name of 1 to ${nameLengthMax} characters and an AsyncLocalStorage\nTo fix: pass such a name, as in carryAcross('request', storage)`,
    )
  }
  if (!(storage instanceof AsyncLocalStorage)) {
    throw invalidArgument(
      TypeError,
      `carryAcross() takes an AsyncLocalStorage as "${name}", but it is ${storage === null ? 'null' : `of the type ${typeof storage}`}\nTo fix: pass new AsyncLocalStorage() of node:async_hooks`,
    )
  }
  const own = storage as Storage
  const known = carried.get(name)
  if (known?.own !== undefined && known.own !== own) {
    throw new ProcessError(
      'ERR_ALREADY_EXISTS',
      `Cannot carry another AsyncLocalStorage by the name "${name}"\nTo fix: choose another name, or call stop() of the first one`,
    )
  }
  entryOf(name).own = own
  nameOf.set(own, name)
  const stop = (): void => {
    const entry = carried.get(name)
    if (entry?.own !== own) return
    entry.own = undefined
    if (entry.arrived === undefined) carried.delete(name)
    nameOf.delete(own)
  }
  return { stop, [Symbol.dispose]: stop }
}

function entryOf(name: string): Carried {
  let entry = carried.get(name)
  if (entry !== undefined) return entry
  if (carried.size >= namesMax) {
    throw new ProcessError(
      'ERR_LIMIT',
      `Cannot carry "${name}": ${namesMax} storages are carried already\nTo fix: put several values into the store of one storage`,
    )
  }
  entry = { own: undefined, arrived: undefined }
  carried.set(name, entry)
  return entry
}

/** The stores of this moment that go with a call; `undefined` for none. */
export function takeCarried(): CarriedValues | undefined {
  if (carried.size === 0) return undefined
  let values: Record<string, unknown> | undefined
  for (const [name, { own, arrived }] of carried) {
    const value = (own ?? arrived)?.getStore()
    if (value !== undefined) (values ??= {})[name] = value
  }
  return values
}

/** Whether this program has registered all of them: `runCarried()` then reaches whoever asks within it. */
export function areRegistered(values: CarriedValues): boolean {
  return Object.keys(values).every(name => carried.get(name)?.own !== undefined)
}

/** Runs `work` where each of these is the store of its storage. */
export function runCarried<T>(values: CarriedValues | undefined, work: () => T): T {
  if (values === undefined) return work()
  let run = work
  for (const [name, value] of Object.entries(values)) {
    for (const storage of storagesFor(name)) {
      const inner = run
      run = () => storage.run(value, inner)
    }
  }
  return run()
}

/** Also one that nothing here knows yet, while there is room: calls that are made from here carry it on. */
function storagesFor(name: string): Storage[] {
  if (carried.size >= namesMax && !carried.has(name)) return []
  const entry = entryOf(name)
  if (entry.own === undefined) entry.arrived ??= standIn(name)
  return [entry.own, entry.arrived].filter(storage => storage !== undefined)
}

function standIn(name: string): Storage {
  const storage: Storage = new AsyncLocalStorage()
  nameOf.set(storage, name)
  return storage
}

addReducer<Storage>({
  type: AsyncLocalStorage,
  name: 'multiproc.AsyncLocalStorage',
  module: import.meta.url,
  encode: storage => {
    const name = nameOf.get(storage)
    if (name !== undefined) return name
    throw new Unsendable(
      storage,
      'an AsyncLocalStorage',
      'call carryAcross(name, storage), which takes its stores along, or make one where it is used',
    )
  },
  decode: name => {
    const entry = entryOf(String(name))
    return entry.own ?? (entry.arrived ??= standIn(String(name)))
  },
})
