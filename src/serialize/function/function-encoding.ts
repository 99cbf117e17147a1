/**
 * Encodes one function or class: by reference if another process can import it, else as its source text and what it
 * captures. Where only the class around a method gives it `super` or private names, the method is sent as a member of
 * that class.
 */
import { addRealm, builtinName } from './builtin-names.ts'
import { resolveArrowThis } from './arrow-this.ts'
import { resolveCapture } from './capture-resolution.ts'
import { trackClass } from './class-tracker.ts'
import { encodeClass, isDefinedInBody } from './class-encoding.ts'
import { isNativeText, isObject, sourceTextOf, type Encoding, type FunctionRecord } from './encoding.ts'
import { findExport } from './export-reference.ts'
import { analyseFunction, type FunctionAnalysis } from './function-analysis.ts'
import type { FunctionNode, GraphNode, ObjectExtras } from './graph-node.ts'
import { inspector, type FunctionView } from './inspector-session.ts'
import { describeProperty } from './object-encoding.ts'
import { isOwnModule } from '../own-modules.ts'
import { scriptOf, type Script } from './script-table.ts'
import { placeIn } from './place.ts'
import { freshPrefix, replaceUses } from './source-editing.ts'
import type { Trail } from './trail.ts'

export function encodeFunction(encoding: Encoding, fn: Function, trail: Trail, index: number): GraphNode {
  const text = sourceTextOf(fn)
  const view = inspector()?.lookAtFunction(fn)
  if (view?.bound) return encodeBound(encoding, view.bound, trail)
  if (isNativeText(text) || (view && !view.location)) {
    throw trail.error(
      `is the native function "${fn.name || 'anonymous'}", which has no source text and no name that other processes know`,
      'wrap it in an arrow function that gets it by itself',
    )
  }
  const script = view?.location && scriptOf(view.location.scriptId)
  if (view) {
    const global = view.scopes.at(-1)?.variables
    if (global && isObject(global)) {
      addRealm(global)
      const name = builtinName(fn)
      if (name && script?.url.startsWith('node:')) return { t: 'builtin', name }
    }
  }
  if (script?.url.startsWith('node:')) {
    throw trail.error(
      `is the function "${fn.name}" inside Node.js (${script.url}), which no public module exports`,
      'wrap it in an arrow function that gets it by itself',
    )
  }
  if (view && script && (isOwnModule(script.url) || !encoding.options.byValue?.(script.url))) {
    const exported = findExport(fn, text, view, script)
    if (exported) return encoding.importNode(exported)
  }
  return encodeByValue(encoding, { fn, text, view, script, trail, index })
}

function encodeBound(
  encoding: Encoding,
  { target, thisValue, arguments: args }: NonNullable<FunctionView['bound']>,
  trail: Trail,
): GraphNode {
  const thisTrail = trail.toPart('bound `this`')
  const node = {
    t: 'bound' as const,
    thisValue: encoding.slot(thisValue, thisTrail),
    arguments: args.map((value, position) =>
      encoding.slot(value, trail.toPart(`bound argument ${position}`)),
    ),
  }
  const method = isObject(thisValue) ? findMethod(target, thisValue) : undefined
  if (method) {
    const holder = encoding.slot(method.holder, thisTrail)
    const key = encoding.slot(method.key, thisTrail)
    return { ...node, target: encoding.add({ t: 'method', holder, key }) }
  }
  // Binding an arrow does nothing, except for us: it says what its `this` is.
  encoding.knownThis.set(target, thisValue)
  return { ...node, target: encoding.slot(target, trail.toPart('target of the bound function')) }
}

/** The class of `object` that defines `fn` as a method, which then comes with it. */
function findMethod(fn: Function, object: object): { holder: object; key: PropertyKey } | undefined {
  for (let holder: object | null = object; holder; holder = Object.getPrototypeOf(holder) as object | null) {
    const type: unknown =
      typeof holder === 'function' ? holder : Object.getOwnPropertyDescriptor(holder, 'constructor')?.value
    if (typeof type !== 'function' || (type !== holder && type.prototype !== holder)) continue
    const text = sourceTextOf(type)
    if (!/^class\b/.test(text)) continue
    for (const key of Reflect.ownKeys(holder)) {
      const descriptor = Object.getOwnPropertyDescriptor(holder, key)
      if (descriptor?.value !== fn || key === 'constructor') continue
      const isStatic = type === holder
      if (isDefinedInBody({ analysis: analyseFunction(text), text }, key, descriptor, { isStatic })) {
        return { holder, key }
      }
    }
  }
  return undefined
}

interface ByValue {
  fn: Function
  text: string
  view: FunctionView | undefined
  script: Script | undefined
  trail: Trail
  index: number
}

function encodeByValue(encoding: Encoding, { fn, text, view, script, trail, index }: ByValue): GraphNode {
  const analysis = analyse(text, trail)
  const start = script && view?.location ? script.startOf(text, view.location) : 0
  refuseUnknowable(analysis, trail)
  if (analysis.usesSuper || (analysis.kind !== 'class' && analysis.privateNames.size > 0)) {
    return encodeMember(encoding, { fn, view, script, start, analysis, trail })
  }
  const position = script?.positionAt(start) ?? { line: 0, column: 0 }
  const node: FunctionNode = {
    t: 'function',
    source: text,
    form: analysis.form,
    isStrict:
      analysis.isStrict ||
      analysis.kind === 'class' ||
      (view?.scopes.some(({ description }) => description.startsWith('Module')) ?? false) ||
      (script?.syntax.isStrictAt(start) ?? false),
    script: encoding.scriptIndex(script),
    line: position.line,
    column: position.column,
    prefix: freshPrefix(analysis.identifiers),
    variables: [],
  }
  if (analysis.accessor) node.accessor = analysis.accessor
  if (analysis.usesDynamicImport) node.usesImport = true
  const name: unknown = Object.getOwnPropertyDescriptor(fn, 'name')?.value
  if (typeof name === 'string') node.name = name
  const record: FunctionRecord = {
    index,
    fn,
    node,
    text,
    analysis,
    view,
    script,
    start,
    trail,
    captures: [],
    edits: [],
  }
  captureVariables(encoding, record)
  if (analysis.computedKey) record.edits.push({ ...analysis.computedKey, text: '"computed"' })
  if (analysis.kind === 'class') encodeClass(encoding, record)
  if (analysis.kind === 'class' || analysis.kind === 'function') encodePrototype(encoding, record)
  encodeOwnProperties(encoding, record)
  encoding.functions.push(record)
  return node
}

function analyse(text: string, trail: Trail): FunctionAnalysis {
  try {
    return analyseFunction(text)
  } catch (error) {
    throw trail.error(
      `has a source text that can't be parsed (${error instanceof Error ? error.message : String(error)})`,
      'export the function from a module other than the main one',
    )
  }
}

function refuseUnknowable(analysis: FunctionAnalysis, trail: Trail): void {
  if (analysis.usesDirectEval) {
    throw trail.error(
      'calls eval() directly (or uses `with`), so that nobody can tell which variables it needs',
      'use (0, eval)(code), or export the function from a module other than the main one',
    )
  }
  if (analysis.usesOuterNewTarget) {
    throw trail.error(
      'uses the `new.target` of the function around it, which is gone',
      'keep it in a variable: `const type = new.target`',
    )
  }
}

function captureVariables(encoding: Encoding, record: FunctionRecord): void {
  const { analysis, node, trail, text } = record
  for (const [name, variable] of analysis.free) {
    const capture = resolveCapture(encoding, record, name, variable)
    if (capture) record.captures.push(capture)
  }
  captureOwnName(encoding, record)
  if (record.view) {
    const { fn, view, script, start } = record
    const owner = resolveArrowThis(encoding, { fn, text, analysis, view, script, start }, trail)
    if (owner) {
      const slot = encoding.slot(owner.value, trail.toPart('captured `this`', { isCaptured: true }))
      record.thisSlot = { slot }
    }
  } else if (analysis.kind === 'arrow' && analysis.thisUses.length > 0) {
    throw trail.error(
      'is an arrow function that uses the `this` around it, which this runtime or its permissions do not let us read',
      'write `const self = this` outside of it and use `self`',
    )
  }
  if (analysis.importMetaUses.length > 0) {
    const name = `${node.prefix}meta`
    for (const span of analysis.importMetaUses) record.edits.push({ ...span, text: name })
    const slot = encoding.add({ t: 'import-meta', url: record.script?.url ?? '' })
    record.captures.push({ name, uses: [], slot, isAssigned: false })
  }
}

/**
 * Inside a declared function its name is a variable of the surroundings, which may hold another function by now
 * (`fib = memoize(fib)`); as an expression it would always mean itself.
 */
function captureOwnName(encoding: Encoding, record: FunctionRecord): void {
  const { analysis, fn, view, script, start, trail } = record
  const name = analysis.root.id?.name
  if (name === undefined || analysis.kind !== 'function' || analysis.selfUses.length === 0) return
  if (!view || !script?.syntax.isDeclarationAt(start)) return
  const scope = view.scopes.find(({ variables }) => Object.hasOwn(variables, name))
  if (!scope || scope.variables[name] === fn) return
  const slot = encoding.slot(
    scope.variables[name],
    trail.toPart(`captured variable "${name}"`, { isCaptured: true }),
  )
  const alias = `${record.node.prefix}own`
  record.captures.push({ name: alias, uses: [], slot, isAssigned: false })
  replaceUses(record, name, analysis.selfUses, alias)
}

/** The prototype object of a constructor function, when it is more than what every function has. */
function encodePrototype(encoding: Encoding, record: FunctionRecord): void {
  const { fn, node, trail, index, analysis } = record
  if (analysis.kind === 'class') {
    node.classId = trackClass(fn)
    return
  }
  const prototype: unknown = Object.getOwnPropertyDescriptor(fn, 'prototype')?.value
  if (!isObject(prototype) || !Object.hasOwn(prototype, 'constructor')) return
  if ((prototype as { constructor: unknown }).constructor !== fn) return
  const keys = Reflect.ownKeys(prototype).filter(key => key !== 'constructor')
  const parent = Object.getPrototypeOf(prototype) as object | null
  const isUsual =
    keys.length === 0 && parent !== null && builtinName(parent)?.path.join('.') === 'Object.prototype'
  if (isUsual) return
  node.prototypeNode = encoding.prototypeOf(prototype, [index])
  const target = encoding.nodes[node.prototypeNode[0]] as ObjectExtras
  const values = keys.map(key => {
    const descriptor = Object.getOwnPropertyDescriptor(prototype, key) as PropertyDescriptor
    return describeProperty(encoding, descriptor, trail.to('prototype').to(key))
  })
  target.properties = {
    keys: keys.map(key => encoding.slot(key, trail)),
    values: values.map(({ value }) => value),
    flags: values.map(({ flag }) => flag),
  }
  target.prototype = parent === null ? null : encoding.slot(parent, trail.to('prototype').toPart('prototype'))
}

const standardKeys: ReadonlySet<PropertyKey> = new Set(['length', 'name', 'arguments', 'caller'])

/** What was added to the function object: properties, statics, another prototype of the function itself. */
function encodeOwnProperties(encoding: Encoding, record: FunctionRecord): void {
  const { fn, node, analysis, trail } = record
  const isClass = analysis.kind === 'class'
  const properties = { keys: [] as unknown[], values: [] as unknown[], flags: [] as number[] }
  for (const key of Reflect.ownKeys(fn)) {
    if (standardKeys.has(key)) continue
    const descriptor = Object.getOwnPropertyDescriptor(fn, key) as PropertyDescriptor
    if (key === 'prototype' && (isClass || !hasOwnPrototype(fn, descriptor.value))) continue
    if (isClass && isDefinedInBody(record, key, descriptor, { isStatic: true })) continue
    const { value, flag } = describeProperty(encoding, descriptor, trail.to(key))
    properties.keys.push(encoding.slot(key, trail))
    properties.values.push(value)
    properties.flags.push(flag)
  }
  if (properties.keys.length > 0) node.properties = properties as NonNullable<FunctionNode['properties']>
  const parent = Object.getPrototypeOf(fn) as object | null
  if (isClass) return
  const usual = parent && builtinName(parent)?.path.join('.')
  if (!usual || !/^(?:Function\.prototype|%\w+Function\.prototype%)$/.test(usual)) {
    node.prototype = parent === null ? null : encoding.slot(parent, trail.toPart('prototype'))
  }
}

/** Whether `fn.prototype` was replaced by an object that does not belong to the function. */
function hasOwnPrototype(fn: Function, prototype: unknown): boolean {
  if (!isObject(prototype)) return false
  if (/^(?:async\s+)?function\s*\*|^\*/.test(sourceTextOf(fn))) return Reflect.ownKeys(prototype).length > 0
  return Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value !== fn
}

/** A method that needs its class: sent as a member of the class, which is sent or imported itself. */
function encodeMember(
  encoding: Encoding,
  {
    fn,
    view,
    script,
    start,
    analysis,
    trail,
  }: Pick<FunctionRecord, 'fn' | 'view' | 'script' | 'start' | 'analysis' | 'trail'>,
): GraphNode {
  const className = script?.syntax.classNameAt(start)
  for (const { variables } of className === undefined ? [] : (view?.scopes ?? [])) {
    if (!Object.hasOwn(variables, className as string)) continue
    const type = variables[className as string]
    if (typeof type !== 'function') break
    for (const holder of [type.prototype as object, type]) {
      for (const key of isObject(holder) ? Reflect.ownKeys(holder) : []) {
        const descriptor = Object.getOwnPropertyDescriptor(holder, key) as PropertyDescriptor
        const accessor = descriptor.get === fn ? 'get' : descriptor.set === fn ? 'set' : undefined
        if (descriptor.value !== fn && !accessor) continue
        const classTrail = trail.toPart(`class ${type.name}`)
        const node = {
          t: 'method' as const,
          holder: encoding.slot(holder, classTrail),
          key: encoding.slot(key, trail),
        }
        return accessor ? { ...node, accessor } : node
      }
    }
  }
  const [privateName] = analysis.privateNames
  const used = privateName === undefined ? '`super`' : `the private name ${privateName}`
  const place = placeIn(script, start)
  throw trail.error(
    `uses ${used}${place === undefined ? '' : ` (${place})`}, so that it only works inside ` +
      'its class, and its class can not be reached from it',
    'pass object.method.bind(object), or export the class from a module other than the main one',
  )
}
