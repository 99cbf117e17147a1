/**
 * What a program does that was written for Python's proxies: `namespace.x = 1`, `dict['x'] = 1`, `list[0]`. Here it would
 * be a property of the proxy, which nobody else sees, or nothing; so it is an error that names the method. An object
 * that can throw stands in the chain of prototypes, behind the class, so that its own methods cost nothing.
 */
import { inspect } from 'node:util'
import { invalidArgument } from '../errors.ts'
import type { BaseProxy } from './base-proxy.ts'

const INDEX = /^-?\d{1,15}$/

/**
 * Makes assignments to proxies of this class an error, and reading by index for those with `hasIndices`. Classes that
 * users derive from it have fields as they like.
 *
 * @param name - of such an object in the text that says how to write it right
 */
export function refuseAssignments(
  type: { readonly prototype: BaseProxy; readonly name: string },
  name: string,
  { hasIndices = false }: { hasIndices?: boolean } = {},
): void {
  const guard: ProxyHandler<object> = {
    set(target, key, value, receiver: object): boolean {
      if (typeof key === 'symbol' || Object.getPrototypeOf(receiver) !== type.prototype) {
        return Reflect.set(target, key, value, receiver)
      }
      const shown = hasIndices && INDEX.test(key) ? key : inspect(key)
      throw noAssignment(type.name, shown, `await ${name}.set(${shown}, value)`)
    },
  }
  if (hasIndices) {
    guard.get = (target, key, receiver): unknown => {
      if (typeof key === 'symbol' || !INDEX.test(key)) return Reflect.get(target, key, receiver)
      throw invalidArgument(
        TypeError,
        `Cannot read [${key}] of a ${type.name} at once: what it holds lies in the manager\n` +
          `To fix: await ${name}.get(${key})`,
      )
    }
  }
  Object.setPrototypeOf(
    type.prototype,
    new Proxy(Object.create(Object.getPrototypeOf(type.prototype) as object) as object, guard),
  )
}

/** @param toFix - what writes it */
export function noAssignment(typeName: string, shown: string, toFix: string): TypeError {
  return invalidArgument(
    TypeError,
    `Cannot set ${shown} of a ${typeName} by an assignment: what it holds lies in the manager\nTo fix: ${toFix}`,
  )
}
