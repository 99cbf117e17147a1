/**
 * Checks the project's own files against the rules of tidy-rules.ts, after showing that each rule notices a
 * violation and lets the correct form pass: a rule that can't fail would be worse than none.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  layersInArchitecture,
  LAYERS,
  linesOfCode,
  longFilesExist,
  MAX_LINES_OF_CODE,
  protocolsWrittenDown,
  RULES_PER_FILE,
  type SourceFile,
} from './tidy-rules.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const FOLDERS = [
  'src',
  'test',
  'scripts',
  'examples',
  'demo',
  'docs',
  'compat',
  'benchmark',
  '.ci',
  '.github',
]
const TEXT = /\.(?:[mc]?[jt]sx?|json|md|ya?ml|sh|c|h)$|\/run$/
const NOT_OURS = new Set(['node_modules', 'dist', 'build', 'coverage', 'out'])
/** It spells the words out that it looks for. */
const RULES_FILES = new Set(['test/tidy-rules.ts', 'test/tidy.test.ts'])

function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory() && !NOT_OURS.has(entry.name)) yield* filesBelow(path)
    else if (entry.isFile() && TEXT.test(path) && entry.name !== 'package-lock.json') yield path
  }
}

const paths = [
  ...FOLDERS.filter(folder => existsSync(join(root, folder))).flatMap(folder => [...filesBelow(folder)]),
  ...readdirSync(root).filter(name => /\.(?:md|json)$/.test(name) && name !== 'package-lock.json'),
]
const files = paths
  .filter(path => !RULES_FILES.has(path) && statSync(join(root, path)).size < 1_000_000)
  .map((path): SourceFile => ({ path, text: readFileSync(join(root, path), 'utf8') }))

const HEADER = '/** Says what it is for, and the invariant that it keeps. */\n'

/** For each rule: files that break it, and the nearest files that do not. */
const PLANTED: Record<keyof typeof RULES_PER_FILE, { bad: SourceFile[]; good: SourceFile[] }> = {
  layering: {
    bad: [
      { path: 'src/serialize/x.ts', text: "import { Pool } from '../pool/pool.ts'" },
      { path: 'src/errors.ts', text: "export * from './platform/cpu.ts'" },
      { path: 'src/pool/x.ts', text: "const { run } = await import('../index.ts')" },
      { path: 'src/process/x.ts', text: "const cli = require('../cli/map.ts')" },
      { path: 'src/process/x.ts', text: "import type { Pool } from '../pool/pool.ts'" },
      { path: 'src/pool/x.ts', text: "import '../../test/latch.ts'" },
      { path: 'src/stuff/x.ts', text: '' },
    ],
    good: [
      {
        path: 'src/pool/x.ts',
        text: "import { encode } from '../serialize/encode.ts'\nimport { y } from './y.ts'",
      },
      {
        path: 'src/serialize/x.ts',
        text: "// import { Pool } from '../pool/pool.ts'\nimport fs from 'node:fs'",
      },
      { path: 'src/index.ts', text: "export * from './cli/map.ts'" },
      { path: 'test/x.test.ts', text: "import '../src/pool/pool.ts'" },
    ],
  },
  operatingSystemOnlyInPlatform: {
    bad: [
      { path: 'src/pool/x.ts', text: "if (process.platform === 'win32') stop()" },
      { path: 'src/pool/x.ts', text: "import { cpus } from 'node:os'" },
      { path: 'src/process/x.ts', text: "readFileSync('/proc/self/status')" },
    ],
    good: [
      { path: 'src/platform/x.ts', text: "import { cpus } from 'node:os'" },
      { path: 'src/pool/x.ts', text: '// process.platform is read in platform/.' },
    ],
  },
  fileNames: {
    bad: [
      'src/util.ts',
      'src/pool/helpers.ts',
      'src/pool/common.ts',
      'src/pool/asyncResult.ts',
      'src/Pool/x.ts',
    ].map(path => ({ path, text: HEADER })),
    good: [{ path: 'src/pool/async-result.ts', text: HEADER }],
  },
  openingComment: {
    bad: [
      { path: 'src/pool/x.ts', text: `import fs from 'node:fs'\n${HEADER}` },
      { path: 'src/pool/x.ts', text: '// The pool.\nexport const a = 1' },
    ],
    good: [
      { path: 'src/pool/x.ts', text: HEADER },
      {
        path: 'src/cli/cli-main.ts',
        text: `#!/usr/bin/env node\n// Starts the command that was\n// asked for, and nothing else.\n`,
      },
    ],
  },
  fileLength: {
    bad: [{ path: 'src/pool/x.ts', text: 'let a = 1\n'.repeat(MAX_LINES_OF_CODE + 1) }],
    good: [
      {
        path: 'src/pool/x.ts',
        text: 'let a = 1\n\n// A comment.\n/* And\nmore */\n'.repeat(MAX_LINES_OF_CODE),
      },
    ],
  },
  entryLength: {
    bad: [{ path: 'src/process/child-main.ts', text: 'start()\n'.repeat(40) }],
    good: [
      { path: 'src/process/child-main.ts', text: 'start()\n'.repeat(39) },
      { path: 'src/process/child.ts', text: 'start()\n'.repeat(40) },
    ],
  },
  lineLength: {
    bad: [{ path: 'src/pool/x.ts', text: `ok\n${'x'.repeat(161)}\n` }],
    good: [{ path: 'src/pool/x.ts', text: 'x'.repeat(160) }],
  },
  issueInTodo: {
    bad: [
      { path: 'src/pool/x.ts', text: '// TODO: later' },
      { path: 'scripts/x.mjs', text: '// FIXME(#) later' },
    ],
    good: [
      { path: 'src/pool/x.ts', text: '// TODO(#12): later' },
      { path: 'docs/x.md', text: 'A `TODO` needs an issue' },
    ],
  },
  noSleep: {
    bad: [
      { path: 'test/x.test.ts', text: "import { setTimeout } from 'node:timers/promises'" },
      { path: 'test/x.test.ts', text: 'await new Promise(resolve => setTimeout(resolve, 100))' },
      { path: 'test/x.test.ts', text: 'await new Promise<void>((r, _) => { setTimeout(() => r(), 100) })' },
      { path: 'test/fixtures/x.mjs', text: 'await sleep(10)' },
      { path: 'test/x.test.ts', text: 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)' },
      { path: 'test/x.test.ts', text: "execSync('sleep 1')" },
      { path: 'test/x.test.ts', text: '// Sleep: why\nawait sleep(1)' },
    ],
    good: [
      { path: 'test/x.test.ts', text: 'const timer = setTimeout(() => reject(new Error("late")), 5000)' },
      {
        path: 'test/x.test.ts',
        text: '// Sleep: the timeout itself is what is tested here.\nawait sleep(1)',
      },
      { path: 'test/x.test.ts', text: 'await once(child, "exit") // never await sleep(1)' },
      { path: 'src/pool/x.ts', text: 'await new Promise(resolve => setTimeout(resolve, 100))' },
    ],
  },
  ownWords: {
    bad: [
      { path: 'src/pool/x.ts', text: '// Found by the spike.' },
      { path: 'README.md', text: 'Written by an AI assistant in this session' },
      { path: 'docs/x.md', text: 'See /work/shared/notes.md and style.md' },
    ],
    good: [
      { path: 'src/serialize/x.ts', text: '// Opens an inspector session; a REPL shows its prompt.' },
      { path: 'docs/x.md', text: 'The lifestyle.md page; ./work/ab' },
    ],
  },
}

describe('tidy', () => {
  for (const [name, rule] of Object.entries(RULES_PER_FILE)) {
    const { bad, good } = PLANTED[name as keyof typeof RULES_PER_FILE]
    test(`${name} notices planted violations and nothing else`, () => {
      for (const file of bad)
        assert.notDeepEqual(rule(file), [], `not noticed: ${JSON.stringify(file).slice(0, 200)}`)
      for (const file of good) assert.deepEqual(rule(file), [])
    })
    test(`${name} holds for every file`, () => {
      assert.ok(files.length > 10, 'the files of the project were not found')
      const complaints = files.flatMap(rule)
      assert.deepEqual(complaints, [], `\n${complaints.join('\n')}\n`)
    })
  }

  test('protocolsWrittenDown notices a layer without README.md, and finds none', () => {
    assert.equal(
      protocolsWrittenDown(['src/pool/pool.ts', 'src/process/x.ts', 'src/process/README.md']).length,
      1,
    )
    assert.deepEqual(protocolsWrittenDown(paths), [])
  })

  test('layersInArchitecture notices a layer that ARCHITECTURE.md leaves out, and finds none', () => {
    assert.equal(
      layersInArchitecture(['src/pool/x.ts', 'src/errors.ts'], 'the errors.ts and the pools').length,
      1,
    )
    assert.deepEqual(layersInArchitecture(paths, readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')), [])
  })

  test('every layer has a name of its own, and every long file exists', () => {
    assert.equal(new Set(LAYERS).size, LAYERS.length)
    assert.deepEqual(longFilesExist(paths), [])
  })

  test('linesOfCode() leaves out comments and blank lines, but not strings that look like comments', () => {
    assert.equal(
      linesOfCode("// a\n\nconst url = 'http://x' // b\n/* c\n d */ f()\nconst t = `\n//x\n`\n"),
      5,
    )
  })
})
