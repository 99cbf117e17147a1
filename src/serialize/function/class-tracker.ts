/**
 * Gives classes that travel by value an identity over all processes, so that an instance which comes home is again an
 * instance of the class that it left as. Classes are held weakly: an id lives as long as its class in this process.
 */
import { randomUUID } from 'node:crypto'

const ids = new WeakMap<Function, string>()
const classOfId = new Map<string, WeakRef<Function>>()
const forgotten = new FinalizationRegistry<string>(id => {
  // The id may have been given to a newer copy of the class meanwhile.
  if (classOfId.get(id)?.deref() === undefined) classOfId.delete(id)
})

let processPart: string | undefined
let count = 0

/** The id of a class, the same in every process that got it. */
export function trackClass(type: Function): string {
  let id = ids.get(type)
  if (id === undefined) {
    processPart ??= randomUUID()
    id = `${processPart}:${++count}`
    remember(id, type)
  }
  return id
}

/** The id of a class that has travelled, or is a copy of one that has. */
export function idOfClass(type: Function): string | undefined {
  return ids.get(type)
}

/** The class of this process that began its journey with this id; copies from elsewhere don't count. */
export function ownClassOf(id: string): Function | undefined {
  return processPart !== undefined && id.startsWith(`${processPart}:`)
    ? classOfId.get(id)?.deref()
    : undefined
}

/** Notes that `type` is this process's copy of a class from elsewhere. */
export function adoptClass(id: string, type: Function): void {
  ids.set(type, id)
}

function remember(id: string, type: Function): void {
  ids.set(type, id)
  classOfId.set(id, new WeakRef(type))
  forgotten.register(type, id)
}

/** What copies of this process's own classes stand for: the class, and its prototype. */
const originals = new WeakMap<object, object>()
let hasHomeCopies = false

/** Notes that `copy` holds instances of a class of this process that came home. They travel on as instances of `own`. */
export function rememberHomeCopy(copy: Function, own: Function): void {
  hasHomeCopies = true
  originals.set(copy, own)
  originals.set(copy.prototype as object, own.prototype as object)
}

/** The class or prototype that an object is a copy of in this process, or the object itself. */
export function originalOf<T extends object>(object: T): T {
  return hasHomeCopies ? ((originals.get(object) ?? object) as T) : object
}
