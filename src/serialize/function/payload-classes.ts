/**
 * The classes of a payload that is being decoded: which of them are here already, which have to be rebuilt although
 * their originals are here, and what a rebuilt one has to do with the original.
 */
import { adoptClass, ownClassOf, rememberHomeCopy } from './class-tracker.ts'
import { isReference, type FunctionNode, type Graph, type ObjectExtras, type Slot } from './graph-node.ts'
import { shareCopy, sharedCopyOf, signatureOf, type ClassScope } from './shared-classes.ts'

export interface ClassOptions {
  /** Classes that are here already, in the copies to be used. */
  classes?: ClassScope | undefined
  /** Gets every class that the payload brings along. */
  definedClasses?: ClassScope | undefined
}

export class PayloadClasses {
  private readonly graph: Graph
  private readonly options: ClassOptions
  private readonly signatures = new Map<number, string | undefined>()

  constructor(graph: Graph, options: ClassOptions) {
    this.graph = graph
    this.options = options
  }

  /** The class that a node describes, if it is here already. */
  find(node: FunctionNode, index: number): Function | undefined {
    const { classId } = node
    if (classId === undefined || !isClassNode(node)) return undefined
    const known = ownClassOf(classId) ?? this.options.classes?.get(classId)
    if (known) return known
    const shared = this.sharedCopyOf(classId, index)
    if (shared) this.options.definedClasses?.set(classId, shared)
    return shared
  }

  /** A copy that an earlier payload made for a class of this process. */
  findHomeCopy({ classId }: FunctionNode, index: number): Function | undefined {
    return this.sharedCopyOf(homeKey(classId), index)
  }

  /**
   * The classes of an object with private fields that have to be built although their originals are here: from its own
   * class up to the last one that gives it private fields, because methods must find the fields of their copies.
   */
  copiesFor({ prototype, privateState }: ObjectExtras): readonly number[] {
    if (!privateState) return []
    const needed = new Set(privateState.map(({ type }) => (isReference(type) ? type[0] : -1)))
    const chain: number[] = []
    let length = 0
    let next = this.classOfPrototype(prototype)
    while (isReference(next)) {
      const [index] = next
      const node = this.graph.nodes[index]
      if (node?.t !== 'function' || chain.includes(index)) break
      chain.push(index)
      if (needed.delete(index)) length = chain.length
      next = node.variables.find(({ name }) => name === `${node.prefix}super`)?.value
    }
    return [...chain.slice(0, length), ...needed].filter(index => {
      const node = this.graph.nodes[index]
      return node?.t === 'function' && ownClassOf(node.classId ?? '') !== undefined
    })
  }

  /** Notes what a function that was built is a copy of. */
  adopt(node: FunctionNode, index: number, fn: Function): void {
    const { classId } = node
    if (classId === undefined) return
    const own = ownClassOf(classId)
    if (own) {
      if (!node.isClass) return
      joinCopy(fn, own)
      this.share(homeKey(classId), index, fn)
      return
    }
    adoptClass(classId, fn)
    this.options.definedClasses?.set(classId, fn)
    if (isClassNode(node)) this.share(classId, index, fn)
  }

  private classOfPrototype(prototype: Slot | undefined): Slot | undefined {
    const node = isReference(prototype) ? this.graph.nodes[prototype[0]] : undefined
    return node?.t === 'prototype' ? node.of : undefined
  }

  private sharedCopyOf(key: string, index: number): Function | undefined {
    const signature = this.signatureOf(index)
    return signature === undefined ? undefined : sharedCopyOf(key, signature)
  }

  private share(key: string, index: number, copy: Function): void {
    const signature = this.signatureOf(index)
    if (signature !== undefined) shareCopy(key, signature, copy)
  }

  private signatureOf(index: number): string | undefined {
    if (!this.signatures.has(index)) this.signatures.set(index, signatureOf(this.graph, index))
    return this.signatures.get(index)
  }
}

/**
 * The class came home with objects whose private fields only its copy can hold: its instances are made instances of the
 * class as well. What they inherit is found in the copies alone, since methods of the originals would look for private
 * fields that these objects don't have; only the question for the prototype is answered with the original's.
 */
function joinCopy(copy: Function, own: Function): void {
  const prototype = copy.prototype as object
  const inherited = Object.create(Object.getPrototypeOf(prototype) as object | null) as object
  Object.setPrototypeOf(
    prototype,
    new Proxy(inherited, { getPrototypeOf: () => own.prototype as object | null }),
  )
  Object.defineProperty(prototype, 'constructor', { value: own, writable: true, configurable: true })
  rememberHomeCopy(copy, own)
}

function homeKey(classId: string | undefined): string {
  return `home ${classId}`
}

function isClassNode(node: FunctionNode): boolean {
  return node.isClass === true || node.hasInstances === true
}
