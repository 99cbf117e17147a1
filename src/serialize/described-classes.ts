/**
 * The classes of instances on their way out and in: described once per message at most, once per process when the
 * description is only a reference, and rebuilt once per distinct description on the other side.
 */
import { describeClass, type ClassDescription } from './function/class-description.ts'
import { idOfClass } from './function/class-tracker.ts'
import { decodeGraph } from './function/graph-decoder.ts'
import type { ClassScope } from './function/shared-classes.ts'

/** Any class, also an abstract one. */
export type Constructor = abstract new (...parameters: never[]) => object

/** A description and its bytes, which are made when they are first needed. */
export interface DescribedClass extends ClassDescription {
  encodedBody?: Uint8Array | undefined
}

const describedClasses = new WeakMap<Constructor, DescribedClass>()

export function describedClassOf(constructor: Constructor): DescribedClass {
  const known = describedClasses.get(constructor)
  if (known !== undefined) return known
  const described: DescribedClass = { ...describeClass(constructor) }
  if (described.cacheable) describedClasses.set(constructor, described)
  return described
}

const REBUILT_CLASSES_MAX = 512
/** In the order of last use. */
const rebuiltClasses = new Map<string, Constructor>()

/**
 * The class that these bytes describe: the copy in `scope`, if there is one, else the same class for the same bytes, as
 * long as it is among the last ones used.
 */
export function rebuiltClassOf(
  description: string,
  scope: ClassScope | undefined,
  decodeBody: () => unknown,
): unknown {
  const rebuilt = rebuildClass(description, decodeBody)
  const id = typeof rebuilt === 'function' && scope ? idOfClass(rebuilt) : undefined
  return (id !== undefined && scope?.get(id)) || rebuilt
}

function rebuildClass(description: string, decodeBody: () => unknown): unknown {
  const known = rebuiltClasses.get(description)
  if (known !== undefined) {
    rebuiltClasses.delete(description)
    rebuiltClasses.set(description, known)
    return known
  }
  const rebuilt = decodeGraph(decodeBody())
  if (typeof rebuilt !== 'function') return undefined
  if (rebuiltClasses.size >= REBUILT_CLASSES_MAX) rebuiltClasses.delete(rebuiltClasses.keys().next().value!)
  rebuiltClasses.set(description, rebuilt as Constructor)
  return rebuilt
}
