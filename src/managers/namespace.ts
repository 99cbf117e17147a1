/** `manager.Namespace()`: named values in the server, and their proxy. */
import { BaseProxy, addProxyType } from './base-proxy.ts'
import { changed, noSuchKey } from './keys.ts'
import type { ServedType } from './served-type.ts'
import { refuseAssignments } from './written-by-methods.ts'

/** In the server. */
class ManagedNamespace {
  readonly fields: Map<string, unknown>

  constructor(fields: object = {}) {
    this.fields = new Map(Object.entries(fields))
  }

  get(name: string): unknown {
    if (!this.fields.has(name))
      throw noSuchKey(`The namespace has no "${name}"`, 'set() it before, or ask with has()')
    return this.fields.get(name)
  }

  set(name: string, value: unknown): void {
    this.fields.set(name, value)
  }

  has(name: string): boolean {
    return this.fields.has(name)
  }

  delete(name: string): boolean {
    return this.fields.delete(name)
  }

  assign(fields: object): void {
    for (const [name, value] of Object.entries(fields)) this.fields.set(name, value)
  }

  change(name: string, change: (value: unknown) => unknown): unknown {
    const value = changed(change, this.fields.get(name))
    this.fields.set(name, value)
    return value
  }
}

/**
 * Named values in a manager, as Python's `Namespace`: `await namespace.get('x')` for its `namespace.x`. The type says
 * which names there are and of what type each is.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.Namespace
 *
 * @example
 * ```ts
 * import { Manager } from 'multiproc'
 *
 * await using manager = await Manager()
 * const settings = await manager.Namespace({ level: 1, name: 'first' })
 * await settings.set('level', 2)
 * console.log(await settings.get('level')) // 2
 * ```
 */
export class NamespaceProxy<T extends object = Record<string, unknown>> extends BaseProxy<T> {
  /** @throws ProcessError `ERR_NOT_FOUND` for a name that was not set. */
  get<Name extends keyof T & string>(name: Name): Promise<T[Name]> {
    return this.callMethod('get', [name]) as Promise<T[Name]>
  }

  set<Name extends keyof T & string>(name: Name, value: T[Name]): Promise<void> {
    return this.callMethod('set', [name, value]) as Promise<void>
  }

  has(name: keyof T & string): Promise<boolean> {
    return this.callMethod('has', [name]) as Promise<boolean>
  }

  /** Whether the name was there. */
  delete(name: keyof T & string): Promise<boolean> {
    return this.callMethod('delete', [name]) as Promise<boolean>
  }

  /** Sets several values at once. */
  assign(values: Partial<T>): Promise<void> {
    return this.callMethod('assign', [values]) as Promise<void>
  }

  /** Has the manager replace a value by what `change` makes of it, while nobody else can change it. Gives the new value. */
  update<Name extends keyof T & string>(name: Name, change: (value: T[Name]) => T[Name]): Promise<T[Name]> {
    return this.callMethod('change', [name, change]) as Promise<T[Name]>
  }

  /** An object with the same values. */
  copy(): Promise<T> {
    return this.getValue()
  }
}

addProxyType('Namespace', NamespaceProxy)
refuseAssignments(NamespaceProxy, 'namespace')

/** @internal */
export const NAMESPACE: ServedType = {
  typeId: 'Namespace',
  isBuiltIn: true,
  make: (fields?: object) => new ManagedNamespace(fields),
  snapshot: object => Object.fromEntries((object as ManagedNamespace).fields),
}
