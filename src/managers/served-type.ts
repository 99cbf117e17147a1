/** What a server knows of a type of objects: how one is made, what clients may call, and how it ends. */
import type { Operations } from '../broker/shareable.ts'
import type { ProxyType } from './base-proxy.ts'

export interface ServedType {
  /** Whether every process of the same version has the class of its proxies. */
  readonly isBuiltIn?: boolean | undefined
  readonly typeId: string
  /** Makes an object. Without it, only results of methods become objects of the type. */
  readonly make?: ((...args: never[]) => unknown) | undefined
  /** The methods that clients may call. Default: those of the proxy class, or all public ones of the object. */
  readonly exposed?: readonly string[] | undefined
  /** Methods whose result stays in the server, as an object of the type named. */
  readonly methodToTypeId?: Readonly<Record<string, string>> | undefined
  /** The class of a user for its proxies. */
  readonly proxyType?: ProxyType | undefined
  /** What does not change about an object, for its proxies. */
  readonly factsOf?: ((object: object) => unknown) | undefined
  /** What `getValue()` gives a copy of. Default: the object. */
  readonly snapshot?: ((object: object) => unknown) | undefined
  /** Called when no proxy is left. */
  readonly end?: ((object: object) => void) | undefined
  /**
   * Of classes of `sync/` and `queue/`: what a client does with the real object that it has as a member of the server's
   * heap. The object that was made is that of the server's own member.
   */
  readonly operations?: Operations<object> | undefined
  /** Called with the real object of a client, and that of the server. */
  readonly opened?: ((real: object, made: object) => void) | undefined
}

const METHODS_OF_ALL: ReadonlySet<string> = new Set(Object.getOwnPropertyNames(Object.prototype))

/** The names of the methods that clients of an object may call. */
export function exposedMethods({ exposed, proxyType }: ServedType, object: object): ReadonlySet<string> {
  return new Set(exposed ?? proxyType?.exposed ?? publicMethods(object))
}

/** As Python has it: whatever is a function, and does not begin with an underscore. */
function publicMethods(object: object): string[] {
  const names = new Set<string>()
  for (
    let link: object | null = object;
    link !== null && link !== Object.prototype && link !== Function.prototype;
    link = Object.getPrototypeOf(link) as object | null
  ) {
    for (const name of Object.getOwnPropertyNames(link)) {
      if (name.startsWith('_') || METHODS_OF_ALL.has(name)) continue
      if (typeof Object.getOwnPropertyDescriptor(link, name)?.value === 'function') names.add(name)
    }
  }
  return [...names]
}

/** Makes an object: of a class, or by a function. */
export function makeObject(callable: (...args: never[]) => unknown, args: readonly unknown[]): unknown {
  const make = callable as (...given: readonly unknown[]) => unknown
  return isClass(callable) ? Reflect.construct(make, args) : make(...args)
}

/** A class can't be called, and neither can most built-in constructors. Arrow functions and methods have no prototype. */
function isClass(callable: (...args: never[]) => unknown): boolean {
  if (callable.prototype === undefined) return false
  const source = Function.prototype.toString.call(callable)
  return /^class\b/.test(source) || /\{\s*\[native code\]\s*\}$/.test(source)
}
