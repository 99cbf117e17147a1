// Runs the programs in source/ through the tools that people run TypeScript with, on each version of Node.js, and
// prints what arrived. Ends with an error when a row is missing or wrong.
import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '../..')
const out = join(here, 'out')
const require = createRequire(import.meta.url)
const wanted = process.argv.slice(2)
const deadlineMs = 120_000

const versions = { 20: process.execPath }
for (const version of [22, 24, 26]) {
  const path = join(root, `compat/node/node_modules/node${version}/bin/node`)
  if (existsSync(path)) versions[version] = path
  else console.log(`Node ${version} is not installed (npm ci --prefix compat/node): left out`)
}
const major = Number(process.versions.node.split('.')[0])
if (major !== 20) versions[major] = process.execPath

installLibrary()
rmSync(out, { recursive: true, force: true })
const environments = [...typeScript(), ...compiled(), ...bundled(), ...testRunners()]

const table = new Map()
const failures = []
for (const [version, node] of Object.entries(versions)) {
  for (const environment of environments) {
    if (wanted.length > 0 && !wanted.some(part => `${environment.name} ${version}`.includes(part))) continue
    if (environment.from > Number(version)) continue
    const rows = await run(environment, node, version)
    const good = rows.filter(row => !row.failure && !row.done).length
    for (const { name, failure } of rows)
      if (failure) failures.push(`${environment.name}, Node ${version}: ${name}\n${failure}`)
    if (good < environment.rows)
      failures.push(`${environment.name}, Node ${version}: ${good} of ${environment.rows} rows`)
    const line = table.get(environment.name) ?? { rows: environment.rows }
    line[`Node ${version}`] = `${good}${good < environment.rows ? ' !' : ''}`
    table.set(environment.name, line)
  }
}
console.table(Object.fromEntries(table))
if (failures.length > 0) {
  console.log(`\n${failures.join('\n\n')}`)
  process.exitCode = 1
}

/** The library as npm would install it: a link would be taken for a part of the program by some tools. */
function installLibrary() {
  const target = join(here, 'node_modules/multiproc')
  rmSync(target, { recursive: true, force: true })
  mkdirSync(target, { recursive: true })
  cpSync(join(root, 'package.json'), join(target, 'package.json'))
  cpSync(join(root, 'dist'), join(target, 'dist'), { recursive: true })
}

function prepare(name, type) {
  const directory = join(out, name)
  cpSync(join(here, 'source'), directory, { recursive: true })
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ type }))
  writeFileSync(
    join(directory, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { experimentalDecorators: false, target: 'es2022' } }),
  )
  return directory
}

/** Tools that run .ts files as they are. */
function typeScript() {
  const esm = prepare('ts-esm', 'module')
  const cjs = prepare('ts-cjs', 'commonjs')
  const tsnode = prepare('ts-node', 'commonjs')
  const options = {
    module: 'commonjs',
    target: 'es2022',
    esModuleInterop: true,
    experimentalDecorators: true,
  }
  writeFileSync(
    join(tsnode, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: options, 'ts-node': { transpileOnly: true } }),
  )
  const tsx = require.resolve('tsx/cli')
  const tsnodeBin = require.resolve('ts-node/dist/bin')
  const rows = { cases: 19, positions: 1, features: 7 }
  return [
    ...['cases', 'positions'].map(file => ({
      name: `type stripping: ${file}`,
      from: 22,
      args: [join(esm, `${file}.ts`)],
      rows: rows[file],
    })),
    ...['cases', 'positions', 'features'].map(file => ({
      name: `tsx, ES module: ${file}`,
      args: [tsx, join(esm, `${file}.ts`)],
      rows: rows[file],
    })),
    ...['cases', 'positions'].map(file => ({
      name: `tsx, CommonJS: ${file}`,
      args: [tsx, join(cjs, `${file}.ts`)],
      rows: rows[file],
    })),
    { name: 'node --import tsx: cases', args: ['--import', 'tsx', join(esm, 'cases.ts')], rows: 19 },
    ...['cases', 'positions'].map(file => ({
      name: `ts-node: ${file}`,
      args: [tsnodeBin, join(tsnode, `${file}.ts`)],
      rows: rows[file],
    })),
    {
      name: 'node -r ts-node/register: cases',
      args: ['-r', 'ts-node/register/transpile-only', join(tsnode, 'cases.ts')],
      cwd: tsnode,
      rows: 19,
    },
  ]
}

/** The outputs of tsc. */
function compiled() {
  const ts = require('typescript')
  const variants = [
    ['ES2022 modules', 'module', { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 }],
    ['ES2022 CommonJS', 'commonjs', { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 }],
    ['ES2017 CommonJS', 'commonjs', { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2017 }],
    [
      'ES5 CommonJS',
      'commonjs',
      { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES5, downlevelIteration: true },
    ],
  ]
  return variants.flatMap(([name, type, options]) => {
    const directory = prepare(`tsc ${name}`.replaceAll(' ', '-'), type)
    for (const file of ['cases.ts', 'positions.ts', 'features.ts', 'lib/tasks.ts']) {
      const path = join(directory, file)
      const compilerOptions = {
        ...options,
        sourceMap: true,
        rewriteRelativeImportExtensions: true,
        esModuleInterop: true,
        experimentalDecorators: true,
      }
      const { outputText, sourceMapText } = ts.transpileModule(readFileSync(path, 'utf8'), {
        compilerOptions,
        fileName: path,
      })
      writeFileSync(path.replace(/ts$/, 'js'), outputText)
      writeFileSync(`${path.replace(/ts$/, 'js')}.map`, sourceMapText)
    }
    return [
      // TypeScript turns import() into require() for CommonJS, which it does not for .mjs: one row the fewer is none.
      { name: `tsc ${name}: cases`, args: [join(directory, 'cases.js')], rows: 19 },
      { name: `tsc ${name}: positions`, args: [join(directory, 'positions.js')], rows: 1 },
      { name: `tsc ${name}: features`, args: [join(directory, 'features.js')], rows: 7 },
    ]
  })
}

/** Bundles by esbuild, with the library outside. */
function bundled() {
  const esbuild = require('esbuild')
  const variants = [
    ['ES module', { format: 'esm' }],
    ['ES module, minified', { format: 'esm', minify: true }],
    ['ES module, minified, names kept', { format: 'esm', minify: true, keepNames: true }],
    ['ES2017', { format: 'esm', target: 'es2017' }],
    ['CommonJS', { format: 'cjs' }],
    ['CommonJS, minified', { format: 'cjs', minify: true }],
  ]
  return variants.flatMap(([name, options]) => {
    const directory = prepare(`esbuild-${name}`.replaceAll(/[ ,]+/g, '-'), 'module')
    const extension = options.format === 'cjs' ? 'cjs' : 'mjs'
    const files = ['cases', 'positions']
    for (const file of files) {
      esbuild.buildSync({
        entryPoints: [join(directory, `${file}.ts`)],
        outfile: join(directory, `${file}.bundle.${extension}`),
        bundle: true,
        platform: 'node',
        sourcemap: true,
        external: ['multiproc', 'acorn', './lib/hundredfold.mjs'],
        logLevel: 'error',
        ...options,
      })
    }
    return files.map(file => ({
      name: `esbuild ${name}: ${file}`,
      args: [join(directory, `${file}.bundle.${extension}`)],
      rows: file === 'cases' ? 19 : 1,
    }))
  })
}

/** Programs as tests, in the processes of a test runner. */
function testRunners() {
  const source = readFileSync(join(here, 'source/cases.ts'), 'utf8')
  const asTest = (head, timeout) =>
    source.replace(
      /go\(\)\.finally\(done\)\s*$/,
      `${head}test('rows', async () => { await go(); await done() }, ${timeout})\n`,
    )
  const vitest = prepare('vitest', 'module')
  writeFileSync(join(vitest, 'cases.test.ts'), `import { test } from 'vitest'\n${asTest('', 60_000)}`)
  const vitestBin = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs')
  const jest = prepare('jest', 'module')
  writeFileSync(join(jest, 'cases.test.ts'), asTest('', 60_000))
  writeFileSync(
    join(jest, 'jest.config.mjs'),
    `export default { rootDir: ${JSON.stringify(jest)}, extensionsToTreatAsEsm: ['.ts'], transform: { '\\\\.ts$': ${JSON.stringify(join(here, 'jest-transform.cjs'))} }, testEnvironment: 'node' }\n`,
  )
  const jestBin = require.resolve('jest/bin/jest')
  return [
    ...['forks', 'threads'].map(pool => ({
      name: `Vitest, ${pool}: cases`,
      from: 22,
      args: [vitestBin, 'run', '--root', vitest, `--pool=${pool}`],
      rows: 19,
    })),
    {
      name: 'Jest, ES modules: cases',
      args: [
        '--experimental-vm-modules',
        '--no-warnings',
        jestBin,
        '--config',
        join(jest, 'jest.config.mjs'),
      ],
      rows: 19,
    },
  ]
}

async function run({ name, args, cwd = here }, node, version) {
  const rowsFile = join(out, `rows-${name.replaceAll(/[^\w]+/g, '-')}-${version}.ndjson`)
  mkdirSync(out, { recursive: true })
  writeFileSync(rowsFile, '')
  const env = {
    ...process.env,
    ROWS: rowsFile,
    PATH: `${dirname(node)}:${process.env.PATH}`,
    NODE_OPTIONS: '',
    NODE_NO_WARNINGS: '1',
  }
  let output = ''
  await new Promise(resolve => {
    const child = spawn(node, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs)
    child.stdout.on('data', chunk => (output += chunk))
    child.stderr.on('data', chunk => (output += chunk))
    child.on('close', () => {
      clearTimeout(timer)
      resolve()
    })
  })
  const rows = readFileSync(rowsFile, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line))
  if (!rows.at(-1)?.done) rows.push({ name: 'the end of the program', failure: output.slice(-1500) })
  return rows
}
