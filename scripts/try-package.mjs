// Tries the package as users get it: packs the tarball, installs it into an empty folder, and uses it from ESM,
// CommonJS and TypeScript (module resolution "nodenext", both kinds of module, and "bundler").
//
// What the tests of this repository can't see fails here: a file missing from "files", a wrong "exports", types that
// only compile with our own options, a dependency that is in devDependencies by mistake, work done at import time.
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { removeStaleOutput } from './remove-stale-output.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
const SECONDS_PER_COMMAND = 120

function fail(what) {
  throw new Error(`The package is not right: ${what}`)
}

/** Runs a command to its end and returns its standard output; anything but exit code 0 is a failure. */
function run(command, args, { cwd, env = process.env }) {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: SECONDS_PER_COMMAND * 1000,
    shell: process.platform === 'win32' && command.endsWith('.cmd'),
  })
  if (error !== undefined || status !== 0) {
    const why = error?.message ?? `ended with ${signal ?? `code ${status}`}`
    fail(`"${[command, ...args].join(' ')}" ${why}\n${stdout}${stderr}`)
  }
  return stdout
}

/** The Node.js versions to use the package with: this one, and those of compat/node when they are installed. */
function nodeVersions() {
  const others = join(root, 'compat', 'node', 'node_modules')
  const found = existsSync(others) ? readdirSync(others).filter(name => /^node\d+$/.test(name)) : []
  return [process.execPath, ...found.toSorted().map(name => join(others, name, 'bin', 'node'))]
}

function pack(folder) {
  run(npm, ['run', 'build'], { cwd: root })
  const [report] = JSON.parse(run(npm, ['pack', '--json', '--pack-destination', folder], { cwd: root }))
  return { tarball: join(folder, report.filename), paths: report.files.map(file => file.path), report }
}

/** Every path that an object of the manifest names, however deep: those of "exports" are conditions in conditions. */
function pathsIn(value) {
  if (typeof value === 'string') return [value.replace(/^\.\//, '')]
  return value === null ? [] : Object.values(value).flatMap(pathsIn)
}

function checkManifest({ main, types, exports }, paths) {
  for (const path of [main, types, exports].flatMap(pathsIn))
    if (!paths.includes(path)) fail(`package.json names ${path}, which is not in the tarball`)
}

/** Imports the package while its dependencies are away: whatever needs them must load them on first use. */
function importWithoutDependencies(folder, names) {
  const modules = join(folder, 'node_modules')
  for (const name of names) renameSync(join(modules, name), join(modules, `${name}.away`))
  run(process.execPath, ['--input-type=module', '-e', "await import('multiproc')"], { cwd: folder })
  for (const name of names) renameSync(join(modules, `${name}.away`), join(modules, name))
}

function checkContents(paths) {
  const present = new Set(paths)
  for (const path of [
    'package.json',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'dist/index.js',
    'dist/index.d.ts',
  ])
    if (!present.has(path)) fail(`${path} is not in the tarball`)
  for (const path of paths) {
    if (!/^(?:deploy|dist|src)\/|^(?:package\.json|README\.md|LICENSE|CHANGELOG\.md)$/.test(path))
      fail(`${path} is in the tarball`)
    if (
      /\.tsbuildinfo$|\.test\.|tsconfig/.test(path) &&
      !/^src\/(?:dashboard\/page\/)?tsconfig\.json$/.test(path)
    )
      fail(`${path} is in the tarball`)
    // Source maps name ../src/x.ts: without the sources, remote stacks would point to files that are not there.
    const isOfOneModule = /^dist\/(?!library\/).*[^d]\.js$/.test(path)
    if (isOfOneModule && !present.has(path.replace(/^dist/, 'src').replace(/\.js$/, '.ts')))
      fail(`${path} has no source in the tarball`)
  }
  for (const path of paths.filter(each => /^src\/.*(?<!\.d)\.ts$/.test(each)))
    if (!present.has(path.replace(/^src/, 'dist').replace(/\.ts$/, '.js'))) fail(`${path} was not compiled`)
}

// Each program prints one line of JSON. Pipes and terminals are its own output; requests (`CloseReq`) are the module
// loader's, and end by themselves.
const CHECKS = `
const error = new multiproc.SerializeError('no', { path: ['a'] })
if (!(error instanceof multiproc.ProcessError) || error.code !== 'ERR_NOT_SERIALIZABLE') throw error
const open = process.getActiveResourcesInfo().filter(name => !/Req|^(?:PipeWrap|TTYWrap|Immediate)$/.test(name))
if (open.length > 0) throw new Error('importing the package opened ' + open.join(', '))
`

// Runs what the package is for, from inside a function so that CommonJS can await it.
const USE = `
async function use() {
  const answers = {}
  if (multiproc.Pool !== undefined) {
    const offset = 1
    for (const context of ['spawn', 'thread']) {
      const pool = new multiproc.Pool({ processes: 2, context })
      answers[context] = await pool.map((x) => x * x + offset, [1, 2, 3])
      pool.close()
      await pool.join()
    }
  }
  console.log(JSON.stringify({ exports: Object.keys(multiproc).sort(), answers }))
}
use().catch(error => { console.error(error); process.exit(1) })
`

const TYPED = `
import * as multiproc from 'multiproc'
import { ProcessError, WorkerDiedError, type ErrorCode } from 'multiproc'
import { type Future, ProcessPoolExecutor, wait } from 'multiproc/futures'

if (ProcessPoolExecutor !== multiproc.ProcessPoolExecutor) throw new Error('multiproc/futures is another copy')
export async function countDone(futures: Future<number>[]): Promise<number> {
  return (await wait(futures)).done.size
}
const code: ErrorCode = new ProcessError('ERR_CLOSED', 'closed').code
// @ts-expect-error There is no such code: the types are there, and are not "any".
const wrong: ErrorCode = 'ERR_OF_NOBODY'
export function signalOf(error: unknown): string | null {
  return error instanceof WorkerDiedError ? error.signal : null
}
console.log(JSON.stringify({ exports: Object.keys(multiproc).sort(), code, wrong, signal: signalOf(1) }))
`

const PROGRAMS = {
  'esm.mjs': `import * as multiproc from 'multiproc'\n${CHECKS}${USE}`,
  'commonjs.cjs': `const multiproc = require('multiproc')\n${CHECKS}${USE}`,
  'dynamic.cjs': `import('multiproc').then(multiproc => {\n${CHECKS}${USE}\n})`,
  'typescript-esm.mts': TYPED,
  'typescript-commonjs.cts': TYPED,
  'bundled.ts': TYPED,
}

const BASE_OPTIONS = {
  target: 'es2022',
  strict: true,
  // The user's own check of our declarations, which most projects switch off.
  skipLibCheck: false,
  types: ['node'],
  typeRoots: [join(root, 'node_modules', '@types')],
  outDir: 'out',
}
const COMPILATIONS = {
  'nodenext.json': {
    compilerOptions: { ...BASE_OPTIONS, module: 'nodenext' },
    files: ['typescript-esm.mts', 'typescript-commonjs.cts'],
  },
  'bundler.json': {
    compilerOptions: { ...BASE_OPTIONS, module: 'esnext', moduleResolution: 'bundler' },
    files: ['bundled.ts'],
  },
}

function write(folder, files) {
  for (const [name, content] of Object.entries(files))
    writeFileSync(
      join(folder, name),
      typeof content === 'string' ? content : JSON.stringify(content, null, 2),
    )
}

/** The subpath loads without its optional peer and says what it needs; with it, and in TypeScript, it works. */
function useOpenTelemetry(folder) {
  write(folder, {
    'without-peer.mjs': `
      import { instrument } from 'multiproc/opentelemetry'
      try { instrument() } catch (error) { console.log(error.code) }`,
    'with-peer.mts': `
      import { type Instrumentation, instrument } from 'multiproc/opentelemetry'
      const instrumentation: Instrumentation = instrument({ spans: 'calls' })
      // @ts-expect-error There is no such value.
      const wrong = (): Instrumentation => instrument({ spans: 'none' })
      instrumentation.stop()
      console.log(typeof wrong)`,
    'opentelemetry.json': {
      compilerOptions: { ...BASE_OPTIONS, module: 'nodenext' },
      files: ['with-peer.mts'],
    },
  })
  if (existsSync(join(folder, 'node_modules', '@opentelemetry'))) fail('an optional peer was installed')
  const without = run(process.execPath, ['without-peer.mjs'], { cwd: folder })
  if (without !== 'ERR_NOT_SUPPORTED\n') fail(`instrument() without its peer printed ${without}`)
  const peer = join('node_modules', '@opentelemetry', 'api')
  cpSync(join(root, peer), join(folder, peer), { recursive: true })
  run(process.execPath, [compiler, '-p', 'opentelemetry.json'], { cwd: folder })
  for (const node of nodeVersions()) run(node, ['out/with-peer.mjs'], { cwd: folder })
  console.log('  made spans with and without the optional peer')
}

/** The same for the cluster, whose types are those of its client where a program uses it directly. */
function useCluster(folder) {
  write(folder, {
    'without-client.mjs': `
      import { startAgent } from 'multiproc/cluster'
      const cluster = { servers: 'nats://127.0.0.1:1', authKey: 'k'.repeat(32) }
      try { await startAgent({ cluster, pools: 'p' }) } catch (error) {
        console.log(error.code, error.message.includes('npm install @nats-io'))
      }`,
    'with-client.mts': `
      import { ClusterError } from 'multiproc'
      import { type Agent, type ClusterLock, type ClusterState, connectState, startAgent } from 'multiproc/cluster'
      const cluster = { servers: 'nats://127.0.0.1:1', authKey: 'k'.repeat(32), connectionTimeout: 1000 }
      // @ts-expect-error There is no such option.
      const wrong = (): Promise<Agent> => startAgent({ cluster, pool: 'p' })
      export const lockOf = (state: ClusterState): ClusterLock => state.Lock('l')
      connectState({ cluster, name: 's' }).then(
        () => process.exit(1),
        (error: unknown) => console.log(error instanceof ClusterError && error.code, typeof wrong),
      )`,
    'cluster.json': {
      compilerOptions: { ...BASE_OPTIONS, module: 'nodenext' },
      files: ['with-client.mts'],
    },
  })
  if (existsSync(join(folder, 'node_modules', '@nats-io'))) fail('the client of NATS was installed')
  const without = run(process.execPath, ['without-client.mjs'], { cwd: folder })
  if (without !== 'ERR_NOT_SUPPORTED true\n') fail(`startAgent() without its client printed ${without}`)
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const client = ['transport-node', 'jetstream'].map(name => `@nats-io/${name}`)
  run(
    npm,
    [
      'install',
      '--no-save',
      '--no-audit',
      '--no-fund',
      ...client.map(name => `${name}@${devDependencies[name]}`),
    ],
    {
      cwd: folder,
    },
  )
  run(process.execPath, [compiler, '-p', 'cluster.json'], { cwd: folder })
  for (const node of nodeVersions()) {
    const printed = run(node, ['out/with-client.mjs'], { cwd: folder })
    if (printed !== 'ERR_CLUSTER_CONNECTION function\n')
      fail(`connectState() without a server printed ${printed}`)
  }
  console.log('  used the cluster with and without its client')
}

function usePackage(folder, hasPool) {
  const answers = hasPool ? { spawn: [2, 5, 10], thread: [2, 5, 10] } : {}
  let exported
  for (const node of nodeVersions()) {
    for (const name of [
      'esm.mjs',
      'commonjs.cjs',
      'dynamic.cjs',
      'out/typescript-esm.mjs',
      'out/typescript-commonjs.cjs',
    ]) {
      const result = JSON.parse(run(node, [name], { cwd: folder }))
      // Node.js adds these two when it hands an ES module to require().
      const names = result.exports.filter(
        each => each !== 'default' && each !== 'module.exports' && each !== '__esModule',
      )
      exported ??= names
      if (names.join() !== exported.join())
        fail(`${name} sees ${names.join()} where esm.mjs saw ${exported.join()}`)
      if (!name.startsWith('out/') && JSON.stringify(result.answers) !== JSON.stringify(answers))
        fail(`${name} computed ${JSON.stringify(result.answers)}, not ${JSON.stringify(answers)}`)
    }
    console.log(
      `  used from ESM, CommonJS and TypeScript on Node ${run(node, ['--version'], { cwd: folder }).trim()}`,
    )
  }
  return exported
}

for (const file of removeStaleOutput()) console.log(`Removed ${file}: its source is gone`)
const folder = mkdtempSync(join(tmpdir(), 'multiproc-package-'))
try {
  const { tarball, paths, report } = pack(folder)
  checkContents(paths)
  console.log(`  packed ${paths.length} files, ${Math.round(report.size / 1024)} KiB`)

  const consumer = join(folder, 'consumer')
  mkdirSync(consumer)
  write(consumer, {
    'package.json': { name: 'consumer', private: true, type: 'module' },
    ...PROGRAMS,
    ...COMPILATIONS,
  })
  run(npm, ['install', '--no-audit', '--no-fund', '--omit=dev', tarball], { cwd: consumer })
  const manifest = JSON.parse(
    readFileSync(join(consumer, 'node_modules', 'multiproc', 'package.json'), 'utf8'),
  )
  checkManifest(manifest, paths)
  const dependencies = Object.keys(manifest.dependencies ?? {})
  for (const name of dependencies)
    if (!existsSync(join(consumer, 'node_modules', name))) fail(`its dependency ${name} was not installed`)
  importWithoutDependencies(consumer, dependencies)
  for (const config of Object.keys(COMPILATIONS))
    run(process.execPath, [compiler, '-p', config], { cwd: consumer })
  console.log('  type-checked with the resolutions nodenext (ESM and CommonJS) and bundler')

  const exported = usePackage(consumer, existsSync(join(root, 'src', 'pool')))
  useOpenTelemetry(consumer)
  useCluster(consumer)
  for (const [command, path] of Object.entries(manifest.bin)) {
    if (!existsSync(join(root, path.replace('dist', 'src').replace(/\.js$/, '.ts')))) continue
    const bin = join(consumer, 'node_modules', '.bin')
    const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH']}` }
    const help = run(process.platform === 'win32' ? `${command}.cmd` : command, ['--help'], {
      cwd: consumer,
      env,
    })
    if (!help.includes(command)) fail(`"${command} --help" printed ${JSON.stringify(help)}`)
    console.log(`  ran "${command} --help"`)
  }
  console.log(`The package works. It exports ${exported.join(', ')}`)
} finally {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
}
