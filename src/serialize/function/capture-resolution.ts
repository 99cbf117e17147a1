/**
 * Finds the values of the variables that a function takes from its surroundings, as they are now, and how each of
 * them travels: import bindings as imports, what every process has not at all, everything else by value.
 */
import { fileURLToPath } from 'node:url'
import { types } from 'node:util'
import { addRealm, builtinName, freshGlobals, globalOfProgram } from './builtin-names.ts'
import { commonJsMember, loadedCommonJs } from './commonjs-index.ts'
import { isObject, type Capture, type Encoding, type FunctionRecord } from './encoding.ts'
import type { FreeVariable } from './function-analysis.ts'
import { nodeModuleMember } from './node-module-index.ts'
import type { Slot } from './graph-node.ts'
import type { ScopeView } from './inspector-session.ts'
import { isMainModule } from './main-module.ts'
import type { ModuleReference } from './module-reference.ts'
import { placeIn } from './place.ts'
import { givenCaptures } from './with-captures.ts'
import type { Trail } from './trail.ts'

type Scoped = Pick<FunctionRecord, 'fn' | 'view' | 'script' | 'start' | 'trail' | 'analysis' | 'text'>

/** The capture for a variable, or `undefined` when the other process has it anyway. */
export function resolveCapture(
  encoding: Encoding,
  record: Scoped,
  name: string,
  variable: FreeVariable,
): Capture | undefined {
  const { view } = record
  const trail = captureTrail(record, name, variable)
  const capture = (slot: Slot, more: Partial<Capture> = {}): Capture => ({
    name,
    uses: variable.uses,
    slot,
    isAssigned: variable.isAssigned,
    trail,
    ...more,
  })
  const given = givenCaptures(record.fn) ?? encoding.options.captures
  if (given && Object.hasOwn(given, name)) return capture(encoding.slot(given[name], trail))
  if (!view) return resolveWithoutInspector(record, name, trail)
  for (const [index, scope] of view.scopes.entries()) {
    if (scope.description.startsWith('Global')) break
    if (!Object.hasOwn(scope.variables, name)) continue
    if (scope.description.startsWith('With')) {
      throw trail.error('comes from a `with` statement', 'name the object: `object.member`')
    }
    const value = readVariable(record, scope, name, trail)
    const special = resolveSpecial(encoding, record, { name, value, variable, scope, trail })
    if (special) return capture(special.slot, special)
    const scriptId = view.location?.scriptId ?? ''
    const singleton = singletonOf(record, scope, index)
    return capture(encoding.slot(value, trail), {
      binding: { singleton, scopes: view.scopes, index, scriptId },
    })
  }
  return resolveGlobal(encoding, record, name, variable, trail, capture)
}

function captureTrail({ trail, script, start }: Scoped, name: string, variable: FreeVariable): Trail {
  const [use] = variable.uses
  return trail.toPart(`captured variable "${name}"`, {
    place: use && placeIn(script, start + use.start),
    isCaptured: true,
  })
}

function readVariable(record: Scoped, scope: ScopeView, name: string, trail: Trail): unknown {
  let value: unknown
  let isDead = false
  try {
    value = scope.variables[name]
  } catch {
    isDead = true
  }
  // V8 of Node 20 shows a variable in its dead zone as undefined.
  if (value === undefined && !isDead) {
    isDead = record.script?.syntax.isNeverUndefined(name, record.start) ?? false
  }
  if (isDead) {
    throw trail.error(
      'is not initialized yet (it is in its temporal dead zone)',
      `send the function after the declaration of "${name}" has run`,
    )
  }
  return value
}

interface Found {
  name: string
  value: unknown
  variable: FreeVariable
  scope: ScopeView
  trail: Trail
}

/** What must not be copied although it is a variable: imports, `require`, `arguments` and what tools generate. */
function resolveSpecial(
  encoding: Encoding,
  record: Scoped,
  { name, value, variable, scope, trail }: Found,
): (Partial<Capture> & { slot: Slot }) | undefined {
  const { script } = record
  const base = script?.url ?? ''
  if (scope.description.startsWith('Module') && script) {
    const slot = importSlot(encoding, record, name, value)
    if (slot) return { slot }
  }
  if (isRequire(name, value)) return { slot: encoding.add({ t: 'require', base }) }
  if (/^__vi(?:te_ssr)?_dynamic_import__$/.test(name))
    return { slot: encoding.add({ t: 'import-function', base }) }
  if (/^__vi(?:te_ssr)?_import_meta__$/.test(name))
    return { slot: encoding.add({ t: 'import-meta', url: base }) }
  if (name === 'arguments' && types.isArgumentsObject(value)) {
    const items = Array.from(value as unknown as ArrayLike<unknown>, (item, index) =>
      encoding.slot(item, trail.to(index)),
    )
    return { slot: encoding.add({ t: 'arguments', items }), alias: 'arguments' }
  }
  if (!isObject(value)) return undefined
  if (name === 'module' && variable.isUsedWhole && isModuleObject(value)) {
    const exports = encoding.slot(value.exports, trail.to('exports'))
    return { slot: encoding.add({ t: 'module-object', filename: value.filename, exports }) }
  }
  return narrow(encoding, name, value, variable, trail)
}

/** Of a namespace-like object that is only used as `x.member`, the used members are sent and nothing else. */
function narrow(
  encoding: Encoding,
  name: string,
  value: object,
  variable: FreeVariable,
  trail: Trail,
): { slot: Slot } | undefined {
  if (variable.isUsedWhole || variable.isAssigned) return undefined
  const isProxy = types.isProxy(value)
  if (!isProxy && (commonJsMember(value) || nodeModuleMember(value))) return undefined
  const isNamespace =
    types.isModuleNamespaceObject(value) ||
    name === 'module' ||
    (isProxy && name === 'exports') ||
    Boolean((value as { __esModule?: unknown }).__esModule) ||
    (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] === 'Module'
  if (!isNamespace) return undefined
  const keys = [...variable.members]
  const values = keys.map(key => {
    let member: unknown
    try {
      member = (value as Record<string, unknown>)[key]
    } catch {
      throw trail.to(key).error('throws when it is read', 'read it before, into a variable of its own')
    }
    return encoding.slot(member, trail.to(key))
  })
  return { slot: encoding.add({ t: 'object', properties: { keys, values } }) }
}

/** The reference for an import binding: the other process imports the same name. */
function importSlot(encoding: Encoding, record: Scoped, name: string, value: unknown): Slot | undefined {
  const binding = record.script?.syntax.imports.get(name)
  const base = record.script?.url ?? ''
  if (!binding || !/^(?:file|node|data|https?):/.test(base)) return undefined
  const module: ModuleReference = { kind: 'esm', url: binding.specifier }
  if (/^\.{0,2}\//.test(binding.specifier)) module.url = new URL(binding.specifier, base).href
  else if (!URL.canParse(binding.specifier)) module.base = base
  if (binding.attributes) module.attributes = binding.attributes
  if (
    encoding.options.byValue?.(module.url) ||
    (module.url.startsWith('file:') && isMainModule(module.url))
  ) {
    return undefined
  }
  // In the realm of a test runner files went through a loader of its own, which other processes don't have.
  if (module.url.startsWith('file:') && record.view?.scopes.at(-1)?.variables !== globalOfProgram())
    return undefined
  const node = encoding.importNode({ module, ...(binding.name === '*' ? {} : { name: binding.name }) })
  const isIdentity = isObject(value) || typeof value === 'symbol'
  if (!isIdentity || (isObject(value) && builtinName(value))) return encoding.add(node)
  // The same object may be reached elsewhere under another name: both are the import.
  const known = encoding.referenceOf(value)
  if (known) {
    encoding.nodes[known[0]] = node
    return known
  }
  const reference = encoding.add(node)
  encoding.adopt(value, reference)
  return reference
}

function isRequire(name: string, value: unknown): boolean {
  if (typeof value !== 'function' || !Object.hasOwn(value, 'resolve')) return false
  return name === 'require' || (Object.hasOwn(value, 'cache') && Object.hasOwn(value, 'main'))
}

function isModuleObject(value: object): value is { exports: unknown; filename: string } {
  return Object.hasOwn(value, 'exports') && Object.hasOwn(value, 'filename')
}

/** Scopes that exist once per script have a name; of others V8 does not say whether two are the same. */
function singletonOf(
  { view, script }: Scoped,
  { description, variables }: ScopeView,
  index: number,
): string | undefined {
  const scriptId = view?.location?.scriptId ?? ''
  if (description.startsWith('Module')) return `module ${scriptId}`
  if (description.startsWith('Script')) return 'script'
  if (!description.startsWith('Closure')) return undefined
  const isWrapper = ['__filename', 'require', 'exports'].some(name => Object.hasOwn(variables, name))
  if (isWrapper) return `wrapper ${scriptId}`
  const outer = view?.scopes[index + 1]?.description ?? ''
  const isOutermost = description === 'Closure' && /^(?:Script|Global)/.test(outer)
  return isOutermost && script && !script.isModule && isLoadedCommonJs(script.url)
    ? `wrapper ${scriptId}`
    : undefined
}

function isLoadedCommonJs(url: string): boolean {
  try {
    return loadedCommonJs()[fileURLToPath(url)] !== undefined
  } catch {
    return false
  }
}

function resolveGlobal(
  encoding: Encoding,
  record: Scoped,
  name: string,
  variable: FreeVariable,
  trail: Trail,
  capture: (slot: Slot, more?: Partial<Capture>) => Capture,
): Capture | undefined {
  if (name === 'undefined' || name === 'arguments') return undefined
  const scopes = record.view?.scopes ?? []
  const global = (scopes.at(-1)?.variables ?? globalOfProgram()) as Record<string, unknown>
  if (!(name in global)) {
    if (variable.isDefinitionTime) {
      throw trail.error(
        'is only used while the class is being defined (in a computed field name), so its value is gone',
        'export the class from a module other than the main one',
      )
    }
    return undefined // Not defined here either: the same ReferenceError there.
  }
  if (name === 'require' && typeof global['require'] === 'function') {
    return capture(encoding.add({ t: 'require', base: '' }))
  }
  const descriptor = Object.getOwnPropertyDescriptor(global, name)
  if (freshGlobals.has(name) && (!descriptor || 'get' in descriptor)) return undefined
  addRealm(global)
  const value = global[name]
  const standard = isObject(value) ? builtinName(value) : undefined
  if (freshGlobals.has(name) && (!isObject(value) || standard)) return undefined
  if (standard?.path.length === 1 && standard.path[0] === name) return undefined
  const narrowed = isObject(value) ? narrow(encoding, name, value, variable, trail) : undefined
  if (narrowed) return capture(narrowed.slot)
  return capture(encoding.slot(value, trail), {
    binding: { singleton: 'global', scopes, index: -1, scriptId: '' },
  })
}

/** Without an inspector the value of a variable is out of reach, unless every process has it. */
function resolveWithoutInspector(record: Scoped, name: string, trail: Trail): undefined {
  if (name === 'arguments' || freshGlobals.has(name)) return undefined
  if (name in globalThis && builtinName(Object(Reflect.get(globalThis, name)) as object)) return undefined
  throw trail.error(
    'belongs to the surroundings of the function, which this runtime or its permissions do not let us read',
    `wrap it in withCaptures(fn, { ${name} }), take it as an argument, or export ${record.fn.name ? `"${record.fn.name}"` : 'the function'} from a ` +
      'CommonJS module',
  )
}
