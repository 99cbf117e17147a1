/**
 * Loads the modules that a payload refers to, before anything of it is rebuilt, and keeps them: rebuilding itself is
 * synchronous. A module that can't be loaded is an error that names it, so that the sender can do without it.
 */
import { fileURLToPath } from 'node:url'
import { ModuleLoadError } from '../../errors.ts'
import { placeOfBundle } from '../bundles.ts'
import { ownModuleAt } from '../own-modules.ts'
import { importFrom, requireFrom } from './dynamic-import.ts'
import { keyOfModule, type ModuleReference } from './module-reference.ts'

const loaded = new Map<string, unknown>()

/**
 * Loads what is not loaded yet. Returns `undefined` if nothing is left to wait for, so that a message whose modules
 * are known can be decoded at once. Rejects, or throws, with a `ModuleLoadError`.
 */
export function loadModules(modules: readonly ModuleReference[]): Promise<void> | undefined {
  let pending: Promise<void>[] | undefined
  for (const module of modules) {
    const key = keyOfModule(module)
    if (loaded.has(key)) continue
    if (module.kind === 'cjs') loaded.set(key, requireModule(module))
    else (pending ??= []).push(importModule(key, module))
  }
  return pending && settled(pending)
}

async function settled(pending: readonly Promise<void>[]): Promise<void> {
  await Promise.all(pending)
}

/** A module that `loadModules()` has loaded. */
export function loadedModule(module: ModuleReference): unknown {
  const key = keyOfModule(module)
  if (!loaded.has(key)) {
    throw new Error(
      `This is a bug in multiproc, please report it: module ${module.url} is used before it is loaded`,
    )
  }
  return loaded.get(key)
}

function requireModule(module: ModuleReference): unknown {
  try {
    if (module.url.startsWith('node:')) return requireFrom('')(module.url)
    return requireFrom(module.url)(fileURLToPath(module.url))
  } catch (error) {
    throw loadError(module, error)
  }
}

async function importModule(key: string, module: ModuleReference): Promise<void> {
  const { url, base, own, bundle, attributes } = module
  const place = bundle === undefined ? undefined : placeOfBundle(bundle)
  try {
    loaded.set(key, await importFrom(base, place ?? (own === undefined ? url : ownModuleAt(own)), attributes))
  } catch (error) {
    throw loadError(module, error)
  }
}

/** Codes of errors that mean that the module was never run. */
const unloadable =
  /^(?:ERR_(?:UNKNOWN_|MODULE_|UNSUPPORTED_|REQUIRE_|PACKAGE_|INVALID_(?:MODULE|PACKAGE|TYPESCRIPT)|IMPORT_|ACCESS_DENIED|NETWORK_)|MODULE_NOT_FOUND|ENOENT)/

function loadError(module: ModuleReference, error: unknown): ModuleLoadError {
  const { code } = (error ?? {}) as { code?: unknown }
  const canSendByValue = error instanceof SyntaxError || (typeof code === 'string' && unloadable.test(code))
  const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
  return new ModuleLoadError(
    `Cannot load ${module.url} in this process${module.base ? ` (for ${module.base})` : ''}: ${reason}\n` +
      'To fix: make sure that the module can be loaded by a process that starts with the same options',
    { url: module.url, canSendByValue, cause: error },
  )
}
