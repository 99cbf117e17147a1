/** Main programs of every form, without any guard: a child never runs them, wherever their functions come from. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const library = import.meta.resolve('multiproc')
const folder = mkdtempSync(join(tmpdir(), 'multiproc main #1 é-'))
after(() => rmSync(folder, { recursive: true }))

/** What runs on top of every program: a pool and a process with functions and classes of the main module. */
const body = `
  const factor = 3
  class Point { constructor(x) { this.x = x } }
  function scale(point) { return point instanceof Point ? new Point(point.x * factor) : 'no Point' }
  console.log('main runs')
  async function main() {
    const context = process.argv[2]
    const pool = new Pool({ processes: 2, context })
    const points = await pool.map(scale, [1, 2, 3].map(x => new Point(x)))
    console.log(points.every(point => point instanceof Point), points.map(({ x }) => x).join())
    pool.close()
    await pool.join()
    const child = new Process({ target: scale, args: [new Point(5)], context })
    child.start()
    console.log((await child.result()).x, await child.join())
  }
`
const esm = `import { Pool, Process } from ${JSON.stringify(library)}\n${body}\nawait main()\n`
const commonJs = `const { Pool, Process } = require(${JSON.stringify(fileURLToPath(library))})\n${body}\nmain()\n`
const expected = 'main runs\ntrue 3,6,9\n15 0\n'

/** Writes files below a folder of their own and gives the path of the first. */
function write(name: string, files: Record<string, string>): string {
  const root = join(folder, name)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}

const asModules = '{ "type": "module" }'
const programs: Record<string, () => string> = {
  'C265 a script': () => join(write('script', { 'main.mjs': esm }), 'main.mjs'),
  'C265 a CommonJS script': () => join(write('script', { 'main.cjs': commonJs }), 'main.cjs'),
  'C266 a script without a suffix': () => join(write('bare', { main: commonJs }), 'main'),
  'C269 a folder with an index file': () => write('folder', { 'index.js': commonJs }),
  'C273 a module inside of a package': () =>
    join(write('inside', { 'package.json': asModules, 'lib/main.js': esm }), 'lib/main.js'),
  'C276 a package with a main module': () =>
    write('package', { 'package.json': '{ "type": "module", "main": "./lib/main.js" }', 'lib/main.js': esm }),
  'a script behind a symbolic link': () => {
    const link = join(folder, 'link.mjs')
    rmSync(link, { force: true })
    symlinkSync(join(write('linked', { 'main.mjs': esm }), 'main.mjs'), link)
    return link
  },
}

forEachStartMethod(context => {
  for (const [name, make] of Object.entries(programs)) {
    test(`${name} uses functions and classes of its own, and runs once`, async () => {
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [make(), context])
      assert.deepEqual([stdout, stderr], [expected, ''])
    })
  }

  test('C200 a main module without a guard starts its processes once', async () => {
    const file = join(
      write('unguarded', {
        'main.mjs': `
          import { Process } from ${JSON.stringify(library)}
          console.log('main runs')
          function foo(connection) { return 123 }
          const child = new Process({ target: foo, args: [1], context: process.argv[2] })
          child.start()
          console.log(await child.result(), await child.join())`,
      }),
      'main.mjs',
    )
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [file, context])
    assert.deepEqual([stdout, stderr], ['main runs\n123 0\n', ''])
  })
})
