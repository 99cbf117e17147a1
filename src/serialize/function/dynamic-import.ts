/**
 * `import()` on behalf of a file: compiled under its name, so that relative paths, packages and loader hooks resolve
 * from there as they did for the original code.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import vm from 'node:vm'
import { whileLoadingModule } from '../../platform/module-loading.ts'
import { workingDirectory } from '../../platform/working-directory.ts'

type Import = (specifier: string, options?: { with: Record<string, string> }) => Promise<unknown>

const importers = new Map<string, Import>()
const importersMax = 1024
let isPrimed = false

/** Makes `import()` in scripts of `vm` work as in a file of that name. Absent where the runtime has no such thing. */
export function importOption(): { importModuleDynamically?: number } {
  const loader = (vm.constants as { USE_MAIN_CONTEXT_DEFAULT_LOADER?: number } | undefined)
    ?.USE_MAIN_CONTEXT_DEFAULT_LOADER
  if (loader === undefined) return {}
  silenceWarning(loader)
  return { importModuleDynamically: loader }
}

/** The namespace of a module, imported as if by the file `base`. */
export function importFrom(
  base: string | undefined,
  specifier: string,
  attributes?: Record<string, string>,
): Promise<unknown> {
  const options = attributes && { with: attributes }
  const from = base?.startsWith('file:') ? base : evaluatedFile()
  let importer = importers.get(from)
  if (!importer) {
    const script = new vm.Script('(specifier, options) => import(specifier, options)', {
      filename: from,
      ...(importOption() as object),
    })
    importer = script.runInThisContext() as Import
    if (importers.size >= importersMax) importers.clear()
    importers.set(from, importer)
  }
  const load = importer
  return whileLoadingModule(() => load(specifier, options))
}

/**
 * Node warns once per process that this loader option is experimental, which says nothing to a user who did not
 * choose it. The first use is made here, with only that warning held back.
 */
function silenceWarning(loader: number): void {
  if (isPrimed) return
  isPrimed = true
  const { emitWarning } = process
  process.emitWarning = (warning: string | Error, ...rest: []) => {
    const text = typeof warning === 'string' ? warning : warning.message
    if (!text.includes('USE_MAIN_CONTEXT_DEFAULT_LOADER')) emitWarning.call(process, warning, ...rest)
  }
  try {
    const options = { filename: import.meta.url, importModuleDynamically: loader } as vm.ScriptOptions
    const first = new vm.Script("import('node:module')", options).runInThisContext() as Promise<unknown>
    // Nothing depends on it: a failure shows at the import that somebody wants.
    first.catch(() => {})
  } finally {
    process.emitWarning = emitWarning
  }
}

/**
 * What a specifier stands for that Vite has rewritten: `/@fs/...` for files outside of the project, and `/...` for files
 * below its root, which is some directory around the importing file.
 */
export function fromVite(specifier: string, base: string): string {
  if (specifier.startsWith('/@fs/')) return pathToFileURL(specifier.slice('/@fs'.length)).href
  if (!specifier.startsWith('/') || !base.startsWith('file:') || existsSync(specifier)) return specifier
  for (let directory = new URL('.', base); ; directory = new URL('..', directory)) {
    const file = new URL(`.${specifier}`, directory)
    if (existsSync(file)) return file.href
    if (directory.pathname === new URL('..', directory).pathname) return specifier
  }
}

/** `require` as in a file of that URL, or as in the working directory. */
export function requireFrom(base: string): NodeJS.Require {
  return createRequire(base.startsWith('file:') ? base : evaluatedFile())
}

/** As Node names code that is in no file. Where the directory has been removed, only absolute names can be meant. */
function evaluatedFile(): string {
  return pathToFileURL(`${workingDirectory() ?? ''}/[eval]`).href
}
