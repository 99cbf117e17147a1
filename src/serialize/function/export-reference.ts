/**
 * Finds a function or class among the exports of the module that it was written in, by identity: such a function
 * travels as a name, and the other process loads the module. The main module and code without a file don't count.
 */
import { existsSync } from 'node:fs'
import { types } from 'node:util'
import { fileURLToPath } from 'node:url'
import { globalOfProgram } from './builtin-names.ts'
import { loadedCommonJs, readMember } from './commonjs-index.ts'
import { isObject, sourceTextOf } from './encoding.ts'
import { rememberedImport, rememberImport, type ImportedFrom } from './import-memory.ts'
import { inspector, type FunctionView } from './inspector-session.ts'
import { isMainModule } from './main-module.ts'
import { isOwnModule } from '../own-modules.ts'
import { scriptOf, warnIfEdited, type Script } from './script-table.ts'

/** Large enough for any real module; a table of a million functions is data. */
const membersMax = 2000

/** Functions that were looked for in vain. One that is exported later goes on by value, which is right too. */
const unexported = new WeakSet<Function>()

/** Where `fn` is exported. What is found is remembered for good, since a module's exports keep their identity. */
export function findExport(
  fn: Function,
  text: string,
  view: FunctionView,
  script: Script,
): ImportedFrom | undefined {
  const remembered = rememberedImport(fn)
  if (remembered || unexported.has(fn)) return remembered
  const { url } = script
  if (!url || (!isOwnModule(url) && !isImportable(url, view))) return undefined
  const moduleScope = view.scopes.find(({ description }) => description.startsWith('Module'))
  const found = moduleScope
    ? findInModule(fn, text, view, script, moduleScope.variables)
    : url.startsWith('file:')
      ? findInCommonJs(fn, url)
      : undefined
  if (found) {
    rememberImport(fn, found)
    warnIfEdited(script)
  } else unexported.add(fn)
  return found
}

/** Like `findExport()`, for a function that has not been looked at. */
export function findExportOf(fn: Function): ImportedFrom | undefined {
  const remembered = rememberedImport(fn)
  if (remembered) return remembered
  const session = inspector()
  if (!session) return undefined
  const view = session.lookAtFunction(fn)
  const script = view.location && scriptOf(view.location.scriptId)
  return script && findExport(fn, sourceTextOf(fn), view, script)
}

function isImportable(url: string, view: FunctionView): boolean {
  if (isMainModule(url) || view.scopes.at(-1)?.variables !== globalOfProgram()) return false
  if (url.startsWith('data:')) return true
  // A vm module may claim any URL.
  return url.startsWith('file:') && existsSync(new URL(url))
}

function findInModule(
  fn: Function,
  text: string,
  view: FunctionView,
  script: Script,
  variables: Record<string, unknown>,
): ImportedFrom | undefined {
  const module = { kind: 'esm' as const, url: script.url }
  const check = { name: fn.name, length: fn.length }
  const isAt = (offset: number) =>
    view.location !== undefined && script.startOf(text, view.location) === offset
  for (const isDeep of [false, true]) {
    for (const [name, exported] of script.syntax.exports) {
      if ('defaultAt' in exported) {
        if (!isDeep && fn.name === 'default' && isAt(exported.defaultAt)) return { module, name }
        continue
      }
      let value: unknown
      try {
        value = variables[exported.local]
      } catch {
        continue // Not initialised yet.
      }
      const path = isDeep ? pathTo(fn, value) : value === fn ? [] : undefined
      if (path) return { module, name, path, check }
    }
  }
  return undefined
}

function findInCommonJs(fn: Function, url: string): ImportedFrom | undefined {
  let filename: string
  try {
    filename = fileURLToPath(url)
  } catch {
    return undefined
  }
  const exports: unknown = loadedCommonJs()[filename]?.exports
  if (!isObject(exports)) return undefined
  const module = { kind: 'cjs' as const, url }
  const check = { name: fn.name, length: fn.length }
  const path = pathTo(fn, exports)
  if (path) return { module, path, check }
  for (const key of Object.keys(exports).slice(0, membersMax)) {
    const member = readMember(exports, key)
    const rest = member === fn ? [] : pathTo(fn, member)
    if (rest) return { module, path: [key, ...rest], check }
  }
  return undefined
}

/** The way from an exported value to a function in it: itself, a member, a static or a method. */
function pathTo(fn: Function, container: unknown): string[] | undefined {
  if (container === fn) return []
  if (!isObject(container) || types.isProxy(container)) return undefined
  const has = (holder: object, key: string) =>
    key !== 'constructor' && Object.getOwnPropertyDescriptor(holder, key)?.value === fn
  for (const key of Object.getOwnPropertyNames(container).slice(0, membersMax)) {
    if (has(container, key)) return [key]
    if (key !== 'prototype' || typeof container !== 'function') continue
    const prototype: unknown = Object.getOwnPropertyDescriptor(container, key)?.value
    if (!isObject(prototype)) continue
    const method = Object.getOwnPropertyNames(prototype).find(name => has(prototype, name))
    if (method !== undefined) return [key, method]
  }
  return undefined
}
