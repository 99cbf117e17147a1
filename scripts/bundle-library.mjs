// Joins the compiled modules of the library (build/src/) into few files in dist/. Node.js takes some 0.6 ms to load a
// module, and every child loads the library: one file instead of two hundred starts a pool in half of the time.
//
//   dist/library/child.js       everything that a child loads at its start
//   dist/library/program.js     what is loaded besides where the package is imported
//   dist/dashboard/page/       what browsers load
//   dist/<layer>/<module>.js    of a module in there: passes on its exports. Entry files, and modules that are loaded
//                               only by some (command line, broker), are themselves
//
// library/ is as deep as the layers are, so that a path from a module to one outside of src/ stays the same.
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rollup } from 'rollup'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const compiled = join(root, 'build', 'src')
const output = join(root, 'dist')
/** The files that are made of many modules, and what these are loaded for. The first that a module is loaded for has it. */
const JOINED = {
  'library/child': ['process/process-main.js', 'pool/worker-main.js'],
  'library/program': ['index.js'],
}

const pathOf = file => relative(compiled, file).replaceAll(sep, '/')
const isEntry = path => path.endsWith('-main.js')

function filesIn(folder, suffix) {
  return readdirSync(folder, { recursive: true })
    .map(name => name.replaceAll(sep, '/'))
    .filter(name => name.endsWith(suffix))
    .toSorted((a, b) => (a < b ? -1 : 1))
}

/** Reads modules with the maps of the compiler, so that the maps of dist/ lead to src/. */
const withCompilerMaps = {
  name: 'compiler maps',
  load(file) {
    const code = readFileSync(file, 'utf8').replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n')
    if (pathOf(file).split('/').length > 2 && /new URL\([^)]*import\.meta\.url/.test(code)) {
      throw new Error(
        `Cannot bundle the library: ${pathOf(file)} is deeper than library/ and names a file by its own URL\nTo fix: do that in a module of the layer's folder`,
      )
    }
    return { code, map: readFileSync(`${file}.map`, 'utf8') }
  },
}

/** All modules that are loaded with one of `starts`. */
function loadedWith(starts, getModuleInfo) {
  const found = new Set(starts.map(path => join(compiled, path)))
  for (const file of found) {
    for (const imported of getModuleInfo(file).importedIds)
      if (!getModuleInfo(imported).isExternal) found.add(imported)
  }
  return found
}

/** Which of JOINED has a module, by its file. */
function joinedFiles(getModuleInfo) {
  const nameOf = new Map()
  for (const [name, starts] of Object.entries(JOINED)) {
    for (const file of loadedWith(starts, getModuleInfo))
      if (!nameOf.has(file) && !isEntry(pathOf(file))) nameOf.set(file, name)
  }
  return nameOf
}

async function bundleLibrary() {
  const modules = filesIn(compiled, '.js').filter(path => !path.startsWith(PAGE) || path === SHARED_WITH_PAGE)
  const bundle = await rollup({
    input: Object.fromEntries(modules.map(path => [path.replace(/\.js$/, ''), join(compiled, path)])),
    external: id => !id.startsWith('.') && !id.startsWith(compiled),
    plugins: [withCompilerMaps],
    preserveEntrySignatures: 'strict',
    // What nothing uses may still be registered by its module.
    treeshake: false,
    onwarn: warning => {
      // A helper of the compiler looks whether somebody else has brought it: (this && this.__helper) || ...
      if (warning.code === 'THIS_IS_UNDEFINED') return
      throw new Error(`Cannot bundle the library: ${warning.message}`)
    },
  })
  let joined
  const { output: written } = await bundle.write({
    dir: output,
    format: 'es',
    sourcemap: true,
    hoistTransitiveImports: false,
    minifyInternalExports: false,
    entryFileNames: '[name].js',
    chunkFileNames: '[name].js',
    manualChunks: (file, { getModuleInfo }) => {
      joined ??= joinedFiles(getModuleInfo)
      return joined.get(file)
    },
  })
  await bundle.close()
  assertNamesKept(written)
  removeOthers(new Set(written.map(({ fileName }) => fileName)))
}

/** Two classes of one name: the second would call itself Name$1, in errors and when it travels. */
function assertNamesKept(written) {
  for (const { code = '', fileName } of written) {
    const renamed = /\bclass ([A-Z]\w*\$\d+)\b/.exec(code)
    if (renamed !== null) {
      throw new Error(
        `Cannot bundle the library: ${fileName} has "${renamed[1]}"\nTo fix: give each class a name of its own`,
      )
    }
  }
}

/** A browser loads the modules of the dashboard's page one by one, so that they stay as the compiler writes them. */
const PAGE = 'dashboard/page/'
/** The command line loads it, too. */
const SHARED_WITH_PAGE = `${PAGE}format.js`

function removeOthers(kept) {
  for (const suffix of ['.js', '.js.map'])
    for (const path of filesIn(output, suffix))
      if (!kept.has(path) && !path.startsWith(PAGE)) rmSync(join(output, path))
}

function copyPage() {
  const to = join(output, PAGE)
  mkdirSync(to, { recursive: true })
  const isCopied = name => /\.(?:js|html|css|svg)$/.test(name)
  for (const name of readdirSync(to)) if (isCopied(name)) rmSync(join(to, name))
  for (const from of [join(compiled, PAGE), join(root, 'src', PAGE)]) {
    for (const name of readdirSync(from)) if (isCopied(name)) copyFileSync(join(from, name), join(to, name))
  }
}

await bundleLibrary()
copyPage()
