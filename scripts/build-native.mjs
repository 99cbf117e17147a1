// Compiles the native addon with the system's C compiler against npm's node-api-headers: nothing is downloaded and
// node-gyp is not needed. Without a compiler the build goes on: the library then works by portable means, and
// `multiproc doctor` says so. MULTIPROC_NATIVE=0 leaves the addon out.
//
//   node scripts/build-native.mjs [--force]
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const sourceFolder = join(root, 'native')
const outputFolder = join(root, 'dist', 'native')
const SYSTEMS = { linux: 'linux', darwin: 'macos' }

/** What every system but Windows has in common. */
const POSIX_SOURCES = new Set(['descriptors.c', 'doorbell.c', 'keeper.c', 'mapping.c', 'thread.c'])

/** The sources for this system: all but those of other systems. */
export function sourcesFor(system) {
  const isOfOthers = name =>
    name.startsWith('os-')
      ? !name.startsWith(`os-${system}`)
      : system === 'windows' && POSIX_SOURCES.has(name)
  return readdirSync(sourceFolder)
    .filter(name => name.endsWith('.c') && !isOfOthers(name))
    .map(name => join(sourceFolder, name))
}

function usualOutput() {
  return join(outputFolder, `${process.platform}-${process.arch}${suffixOfC()}.node`)
}

function isUpToDate(output) {
  if (!existsSync(output)) return false
  const made = statSync(output).mtimeMs
  const inputs = readdirSync(sourceFolder).map(name => join(sourceFolder, name))
  return [...inputs, fileURLToPath(import.meta.url)].every(path => statSync(path).mtimeMs <= made)
}

/** What the loader (src/platform/native-addon.ts) appends for systems whose C library is musl. */
function suffixOfC() {
  if (process.platform !== 'linux') return ''
  return readFileSync('/proc/self/maps', 'latin1').includes('/ld-musl-') ? '-musl' : ''
}

/**
 * Returns the path of the binary, or undefined where there is none.
 *
 * @param {object} options
 * @param {string[]} [options.flags] - more flags for the compiler
 * @param {string} [options.output] - another place than where the library looks for it
 */
export function buildNative({ isForced = false, flags = [], output = usualOutput() } = {}) {
  const system = SYSTEMS[process.platform]
  if (system === undefined || process.env['MULTIPROC_NATIVE'] === '0') return undefined
  if (!isForced && isUpToDate(output)) return output
  mkdirSync(dirname(output), { recursive: true })
  // A program that runs has the old file mapped: it is replaced, never overwritten.
  const draft = `${output}.${process.pid}`
  const compiler = process.env['CC'] ?? 'cc'
  const { status, stderr, error } = spawnSync(
    compiler,
    [
      '-std=gnu11',
      '-O2',
      '-Wall',
      '-Wextra',
      ...flags,
      '-fPIC',
      '-shared',
      '-fvisibility=hidden',
      '-I',
      join(root, 'node_modules', 'node-api-headers', 'include'),
      ...sourcesFor(system),
      '-o',
      draft,
      // Functions of Node.js are bound when it loads the addon.
      ...(system === 'macos' ? ['-undefined', 'dynamic_lookup'] : ['-lpthread', '-ldl']),
    ],
    { encoding: 'utf8' },
  )
  if (error !== undefined || status !== 0) {
    rmSync(draft, { force: true })
    rmSync(output, { force: true })
    console.warn(
      `The native addon was not built: ${error?.message ?? `${compiler} ended with code ${status}`}\n${stderr ?? ''}` +
        'The library works without it, by portable means\nTo fix: install a C compiler (on Debian: apt-get install gcc libc6-dev)',
    )
    return undefined
  }
  if (stderr !== '') console.warn(stderr)
  renameSync(draft, output)
  return output
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  buildNative({ isForced: process.argv.includes('--force') })
}
