/**
 * The documentation is true: its programs print what it says, its examples are those of examples/, its links lead
 * somewhere, and docs/from-python.md knows every export of the package and no name that does not exist.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import * as multiproc from 'multiproc'
import * as cluster from 'multiproc/cluster'
import * as futures from 'multiproc/futures'
import * as opentelemetry from 'multiproc/opentelemetry'
import { comparable, outputOf, programsOf, root } from './doc-programs.js'
import { nativeStatus } from '#src/platform/native-addon.js'

const guide = readdirSync(join(root, 'docs', 'guide')).map(name => `docs/guide/${name}`)
const pages = ['README.md', 'CHANGELOG.md', 'docs/from-python.md', ...guide]
const textOf = new Map(pages.map(page => [page, readFileSync(join(root, page), 'utf8')]))

for (const [page, text] of textOf) {
  const programs = programsOf(page, text)
  if (programs.length === 0) continue
  describe(`the programs of ${page} print what it says`, { concurrency: 2 }, () => {
    for (const program of programs) {
      const { line, output } = program
      // The sixth example measures times, which its own test checks.
      if (output === undefined) continue
      test(`${page}:${line}`, async context => {
        const { isInAnyOrder } = output
        let printed: string
        try {
          printed = await outputOf(program)
        } catch (error) {
          // Without the addon, typed arrays over shared memory reach threads only, and say so.
          if (nativeStatus().isOn || !(error as Error).message.includes('ERR_NOT_SUPPORTED')) throw error
          context.skip('needs the native addon')
          return
        }
        assert.deepEqual(comparable(printed, { isInAnyOrder }), comparable(output.text, { isInAnyOrder }))
      })
    }
  })
}

test('a program of the documentation has its output after it, except a measurement', () => {
  const silent = [...textOf].flatMap(([page, text]) =>
    programsOf(page, text).filter(({ output, name }) => !output && name !== '06-processes-or-threads'),
  )
  assert.deepEqual(
    silent.map(({ page, line }) => `${page}:${line}`),
    [],
  )
})

test('the examples of the documentation are the files of examples/', () => {
  const shown = [...textOf].flatMap(([page, text]) => programsOf(page, text)).filter(each => each.isExample)
  for (const { name, text, page, line } of shown) {
    const source = readFileSync(join(root, 'examples', `${name}.ts`), 'utf8')
    assert.equal(text, source.replace(/^\/\*\*[\s\S]*?\*\/\n/, ''), `${page}:${line}`)
  }
  assert.ok(shown.length > 0)
})

/** As GitHub makes the anchor of a heading. */
function anchorOf(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\- _]/gu, '')
    .replaceAll(' ', '-')
}

test('every link to a file leads to a file and a heading of it', () => {
  const broken: string[] = []
  for (const [page, text] of textOf) {
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (target === undefined || /^[a-z]+:/.test(target)) continue
      const [path, anchor] = target.split('#')
      const file = path ? join(root, dirname(page), path) : join(root, page)
      if (!existsSync(file)) broken.push(`${page}: ${target}`)
      else if (anchor !== undefined) {
        const headings = [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, each]) =>
          anchorOf(each!),
        )
        if (!headings.includes(anchor)) broken.push(`${page}: ${target}`)
      }
    }
  }
  assert.deepEqual(broken, [])
})

/** What the package exports, and its subpaths, types included. */
function exportedNames(): string[] {
  const files = ['index.ts', 'futures/futures.ts', 'cluster/cluster.ts', 'opentelemetry/opentelemetry.ts']
  const named = files.flatMap(file => {
    const source = readFileSync(join(root, 'src', file), 'utf8')
    return [...source.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, list]) =>
      list!.split(',').map(name => name.trim().replace(/^type /, '')),
    )
  })
  const values = [multiproc, futures, cluster, opentelemetry].flatMap(module => Object.keys(module))
  return [...new Set([...named, ...values])].filter(name => name !== '').toSorted()
}

test('every export of the package is explained in the guide or in docs/from-python.md', () => {
  const explained = [...textOf]
    .filter(([page]) => page.startsWith('docs/'))
    .map(([, text]) => text)
    .join('\n')
  const missing = exportedNames().filter(name => !new RegExp(`\\b${name}\\b`).test(explained))
  assert.deepEqual(missing, [])
})

/**
 * The names in code of the column "multiproc": `Pool.map()`, `process.exitCode`, `getContext()`. Whatever has a first
 * word that is no object of ours (an option, a snippet) is left to the programs of the guide.
 */
function claimedNames(): string[] {
  const rows = textOf.get('docs/from-python.md')!.matchAll(/^\| `[^|]*\|([^|]*)\|/gm)
  return [...rows].flatMap(([, cell]) =>
    [...cell!.matchAll(/`([\w.]+)(?:\([^`]*\))?`/g)].map(([, name]) => name!),
  )
}

const pool = new multiproc.Pool(1)
const iterator = pool.imap((item: number) => item, [])
/** What the first word of a claimed name stands for. */
const objects: Record<string, object> = {
  process: new multiproc.Process(),
  pool,
  result: multiproc.AsyncResult.prototype,
  iterator,
  executor: multiproc.ProcessPoolExecutor.prototype,
  future: multiproc.Future.prototype,
  context: multiproc.getContext('spawn'),
  queue: new multiproc.Queue(),
  joinableQueue: new multiproc.JoinableQueue(),
  simpleQueue: new multiproc.SimpleQueue(),
  connection: multiproc.Pipe()[0],
  lock: new multiproc.Lock(),
  rlock: new multiproc.RLock(),
  semaphore: new multiproc.Semaphore(),
  condition: new multiproc.Condition(),
  event: new multiproc.Event(),
  barrier: new multiproc.Barrier(1),
  parent: { name: '', pid: 0, ident: 0, sentinel: undefined, isAlive() {}, join() {} },
}

/** Ids of `first` to `last`. */
function idsOf(first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, index) => `P${String(first + index).padStart(3, '0')}`)
}

test('docs/from-python.md has a row for everything that Python has, and says what becomes of it', () => {
  const rows = textOf
    .get('docs/from-python.md')!
    .split('\n')
    .filter(line => line.startsWith('|'))
    .map(line => line.split(/(?<!\\)\|/).map(cell => cell.trim()))
  const counts = new Map(idsOf(1, 350).map(id => [id, 0]))
  const unexplained: string[] = []
  for (const [, , , verdict = '', ids = ''] of rows) {
    for (const id of ids.match(/\S+/g) ?? []) {
      if (!/^P\d{3}$/.test(id)) continue
      counts.set(id, (counts.get(id) ?? 0) + 1)
      if (!/^(?:same|differs|absent|\*\*fixed\*\*)/.test(verdict)) {
        unexplained.push(`${id}: ${verdict}`)
      }
    }
  }
  const having = (count: (n: number) => boolean): string[] =>
    [...counts].filter(([, n]) => count(n)).map(([id]) => id)
  assert.deepEqual(
    {
      missing: having(n => n === 0),
      twice: having(n => n > 1),
      unknown: having(() => true).filter(id => !idsOf(1, 350).includes(id)),
      unexplained,
    },
    { missing: [], twice: [], unknown: [], unexplained: [] },
  )
})

test('every name that docs/from-python.md gives as ours exists', async () => {
  await pool.terminate()
  const names = claimedNames()
  assert.ok(names.length > 50, `only ${names.length} names were found`)
  const exported = exportedNames()
  const wrong = names.filter(name => {
    const [first, member] = name.split('.')
    if (member === undefined) return !exported.includes(first!) && !Object.hasOwn(globalThis, first!)
    const object =
      objects[first!] ?? (multiproc as unknown as Record<string, { prototype: object }>)[first!]?.prototype
    return object === undefined || !(member in object)
  })
  assert.deepEqual(wrong, [])
})
