/** Keeps objects of subclasses from travelling as what they are made of: they would arrive without what they add. */
import { Unsendable } from '../serialize/unsendable.ts'

/**
 * @param advice - what to do instead, by the name of the subclass
 * @throws Unsendable for an object of a subclass of `type`.
 */
export function assertPlain(
  object: object,
  type: { readonly name: string; readonly prototype: object },
  advice: Readonly<Record<string, string>>,
): void {
  const prototype = Object.getPrototypeOf(object) as { constructor?: { name?: unknown } }
  if (prototype === type.prototype) return
  const given = prototype.constructor?.name
  const name = typeof given === 'string' && given !== '' ? given : `subclass of ${type.name}`
  throw new Unsendable(
    object,
    `${/^[AEIOU]/.test(name) ? 'an' : 'a'} ${name}${name === type.name ? ' of another module than node:net' : ''}`,
    advice[name] ?? `send a net.${type.name} itself, and make the ${name} of it there`,
  )
}
