// Sends functions from every kind of main program to real processes and threads. The programs are in
// test/fixtures/functions; each reports its rows as lines of JSON, and every row is a test here.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

// Fixtures are plain JavaScript, used where they are.
const root = fileURLToPath(new URL('../../../../', import.meta.url))
const fixtures = `${root}test/fixtures/functions/`
const typedIn = readFileSync(`${fixtures}typed-in.txt`, 'utf8')

const permissionFlag = process.version.startsWith('v20.') ? '--experimental-permission' : '--permission'

interface Environment {
  name: string
  args: string[]
  stdin?: string
  env?: Record<string, string>
}

interface Row {
  name: string
  failure?: string
  done?: boolean
}

const environments: Environment[] = [
  { name: 'functions of an ES module', args: [`${fixtures}basics.mjs`] },
  {
    name: 'functions of an ES module, to a thread',
    args: [`${fixtures}basics.mjs`],
    env: { RECEIVER: 'thread' },
  },
  { name: 'functions of a worker thread', args: [`${fixtures}thread-main.mjs`] },
  { name: 'classes and instances', args: [`${fixtures}classes.mjs`] },
  {
    name: 'classes and instances, to a thread',
    args: [`${fixtures}classes.mjs`],
    env: { RECEIVER: 'thread' },
  },
  { name: 'instances', args: [`${fixtures}instances.mjs`] },
  { name: 'instances, to a thread', args: [`${fixtures}instances.mjs`], env: { RECEIVER: 'thread' } },
  { name: 'values', args: [`${fixtures}data.mjs`] },
  { name: 'what can not be sent', args: [`${fixtures}refusals.mjs`] },
  { name: 'functions of a CommonJS module', args: [`${fixtures}common-main.cjs`] },
  { name: 'cells of a notebook', args: ['--experimental-vm-modules', `${fixtures}kernel.mjs`] },
  {
    name: 'a program without its inspector',
    args: [permissionFlag, '--allow-fs-read=*', `${fixtures}static.mjs`],
  },
  { name: 'node -e', args: ['-e', typedIn] },
  { name: 'node -p', args: ['-p', typedIn] },
  { name: 'standard input', args: ['-'], stdin: typedIn },
  { name: 'node --input-type=module -e', args: ['--input-type=module', '-e', typedIn] },
  { name: 'standard input as a module', args: ['--input-type=module', '-'], stdin: typedIn },
  { name: 'the REPL', args: ['-i'], stdin: `${typedIn}\n` },
]

for (const environment of environments) {
  test(`functions arrive: ${environment.name}`, { timeout: 60_000 }, async t => {
    const rows = await run(environment)
    for (const { name, failure } of rows) await t.test(name, () => assert.equal(failure, undefined))
    assert.ok(rows.length >= 5, 'the program ended before its rows')
  })
}

/** Runs a program until it has reported that it is done. */
async function run({ name, args, stdin, env }: Environment): Promise<Row[]> {
  const child = spawn(process.execPath, ['--no-warnings', ...args], {
    cwd: root,
    env: {
      ...process.env,
      ...env,
      HARNESS: `${fixtures}harness.mjs`,
      NODE_V8_COVERAGE: '',
      NODE_OPTIONS: '',
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  const rows: Row[] = []
  const isDone = new Promise<void>(resolve => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
      if (/##\{"done":true\}/.test(output)) resolve()
    })
    // Not 'exit', which may come before the last output.
    child.on('close', () => resolve())
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk
  })
  // The REPL runs what it was given when its input ends, but waits for nothing then.
  if (args.includes('-i')) child.stdin.write(stdin)
  else child.stdin.end(stdin)
  await isDone
  child.stdin.destroy()
  child.kill()
  for (const [, json = ''] of output.matchAll(/##(\{.*\})/g)) rows.push(JSON.parse(json) as Row)
  assert.ok(
    rows.at(-1)?.done,
    `${name} ended early after ${rows.length} rows:\n${output.slice(-2000)}\n${errors}`,
  )
  return rows.filter(row => !row.done)
}
