/**
 * What a class needs beyond its text to be the same class elsewhere: its superclass and the keys of its computed
 * methods as values, its static state and everything that was added to it after its definition. Static initialisers
 * don't run again.
 */
import type * as acorn from 'acorn'
import { sourceTextOf, type Encoding, type FunctionRecord } from './encoding.ts'
import type { FunctionAnalysis } from './function-analysis.ts'
import { inspector } from './inspector-session.ts'
import { describeProperty } from './object-encoding.ts'
import { classMembers, isHookBlock } from './private-state.ts'
import type { Properties, PropertyValue, Slot } from './graph-node.ts'

export function encodeClass(encoding: Encoding, record: FunctionRecord): void {
  const { fn, node, trail, analysis } = record
  const prototype = fn.prototype as object
  node.isClass = true
  const { superClass } = analysis.root as acorn.Class
  if (superClass && Object.getPrototypeOf(prototype) !== null) {
    const name = `${node.prefix}super`
    record.edits.push({ ...spanOf(superClass, analysis), text: name })
    const slot = encoding.slot(Object.getPrototypeOf(fn), trail.toPart(`superclass of ${fn.name}`))
    record.captures.push({ name, uses: [], slot, isAssigned: false, isNeededFirst: true })
  }
  replaceComputedKeys(encoding, record)
  removeStaticInitializers(encoding, record)
  const added = addedMembers(encoding, record, prototype)
  if (added) {
    const owner: Slot = [record.index]
    node.prototypeNode = encoding.prototypeOf(prototype, owner)
    const target = encoding.nodes[node.prototypeNode[0]] as { properties?: Properties }
    target.properties = added
  }
}

/** Whether a property is exactly what the class body defines. */
export function isDefinedInBody(
  { analysis, text }: Pick<FunctionRecord, 'analysis' | 'text'>,
  key: PropertyKey,
  descriptor: PropertyDescriptor,
  options: { isStatic: boolean },
): boolean {
  const members = classMembers(analysis).filter((member): member is acorn.MethodDefinition => {
    if (member.type !== 'MethodDefinition' || member.static !== options.isStatic) return false
    return member.computed || keyOf(member) === key
  })
  const functions = [descriptor.value, descriptor.get, descriptor.set].filter(
    (value: unknown): value is Function => typeof value === 'function',
  )
  if (functions.length === 0 || members.length === 0) return false
  return functions.every(fn => {
    const memberText = sourceTextOf(fn)
    return members.some(member => textOf(member, text, analysis).endsWith(memberText))
  })
}

function keyOf({ key }: acorn.MethodDefinition): string | undefined {
  if (key.type === 'Identifier') return key.name
  return key.type === 'Literal' ? String(key.value) : undefined
}

function textOf(node: acorn.Node, text: string, { offset }: FunctionAnalysis): string {
  return text.slice(node.start - offset, node.end - offset)
}

function spanOf(node: acorn.Node, { offset }: FunctionAnalysis): { start: number; end: number } {
  return { start: node.start - offset, end: node.end - offset }
}

/** Members of the prototype that the body does not define: patches, decorations. */
function addedMembers(encoding: Encoding, record: FunctionRecord, prototype: object): Properties | undefined {
  const keys: Slot[] = []
  const values: PropertyValue[] = []
  const flags: number[] = []
  for (const key of Reflect.ownKeys(prototype)) {
    const descriptor = Object.getOwnPropertyDescriptor(prototype, key) as PropertyDescriptor
    if (key === 'constructor' || isDefinedInBody(record, key, descriptor, { isStatic: false })) continue
    const trail = record.trail.to('prototype').to(key)
    const { value, flag } = describeProperty(encoding, descriptor, trail)
    keys.push(encoding.slot(key, trail))
    values.push(value)
    flags.push(flag)
  }
  return keys.length > 0 ? { keys, values, flags } : undefined
}

/** The expression in a method's computed key can't be evaluated again; the key that it gave is on the class. */
function replaceComputedKeys(encoding: Encoding, record: FunctionRecord): void {
  const { analysis, text, fn, node, trail } = record
  let count = 0
  for (const member of classMembers(analysis)) {
    if (member.type !== 'MethodDefinition' || !member.computed) continue
    const holder = (member.static ? fn : fn.prototype) as object
    const memberText = textOf(member, text, analysis)
    const keys = Reflect.ownKeys(holder).filter(key => {
      const { value, get, set } = Object.getOwnPropertyDescriptor(holder, key) as PropertyDescriptor
      return [value as unknown, get, set].some(
        candidate => typeof candidate === 'function' && memberText.endsWith(sourceTextOf(candidate)),
      )
    })
    const [key] = keys
    if (keys.length !== 1 || key === undefined) {
      throw trail.error(
        'is a class with a method whose computed name can not be told from the class',
        'give the method a fixed name, or export the class from a module other than the main one',
      )
    }
    const name = `${node.prefix}key${count++}`
    record.edits.push({ ...spanOf(member.key, analysis), text: name })
    const slot = encoding.slot(key, trail)
    record.captures.push({ name, uses: [], slot, isAssigned: false, isNeededFirst: true })
  }
}

/** Static fields and blocks have done their work; what they left is sent as values. */
function removeStaticInitializers(encoding: Encoding, record: FunctionRecord): void {
  const { analysis, text, fn, node, trail } = record
  const names: string[] = []
  for (const member of classMembers(analysis)) {
    if (member.type === 'StaticBlock') {
      if (isHookBlock(textOf(member, text, analysis))) continue
      const lines = textOf(member, text, analysis).replace(/[^\n]/g, '')
      record.edits.push({ ...spanOf(member, analysis), text: `static {${lines}}` })
    } else if (member.type === 'PropertyDefinition' && member.static) {
      if (member.value) record.edits.push({ ...spanOf(member.value, analysis), text: 'undefined' })
      if (member.key.type === 'PrivateIdentifier') names.push(`#${member.key.name}`)
    }
  }
  if (names.length === 0) return
  const fields = inspector()?.privateFieldsOf(fn) ?? []
  node.privateStatics = {
    names,
    values: names.map(name =>
      encoding.slot(fields.find(field => field.name === name)?.value, trail.toPart(`.${name}`)),
    ),
  }
  encoding.hookedClasses.add(fn)
}
