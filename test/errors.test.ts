/** The error classes keep their codes and facts, and docs/errors/ has a page for every code and for nothing else. */
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { describe, test } from 'node:test'
import * as multiproc from 'multiproc'
import {
  BrokenPoolError,
  ClosedError,
  MaybeEncodingError,
  ProcessError,
  RemoteError,
  SerializeError,
  TimeoutError,
  WorkerDiedError,
} from 'multiproc'
import { invalidArgument, invalidState } from '#src/errors.js'

const root = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')

/** The members of the union `ErrorCode`, in the order of the source. */
function codesOf(source: string): string[] {
  const union = /export type ErrorCode =\s*((?:\|\s*'[^']+'\s*|\/\/[^\n]*\s*|\/\*[\s\S]*?\*\/\s*)+)/.exec(
    source,
  )?.[1]
  assert.ok(union, 'src/errors.ts has no union named ErrorCode')
  return [...union.matchAll(/^\s*\|\s*'([^']+)'/gm)].map(match => match[1] ?? '')
}

const codes = codesOf(read('src/errors.ts'))
const pages = readdirSync(new URL('docs/errors/', root)).filter(name => name !== 'README.md')

describe('error classes', () => {
  test('every class is a ProcessError, has its own name and keeps its cause', () => {
    const cause = new Error('below')
    const death = { pid: 4711, workerName: 'w', exitCode: null, signal: 'SIGKILL' } as const
    const errors = {
      TimeoutError: new TimeoutError('late', { cause }),
      ClosedError: new ClosedError('closed', { cause }),
      SerializeError: new SerializeError('no', { cause }),
      MaybeEncodingError: new MaybeEncodingError('no', { cause, value: 'a Promise' }),
      WorkerDiedError: new WorkerDiedError('dead', death, { cause }),
      BrokenPoolError: new BrokenPoolError('ERR_START_FAILED', 'no', { cause }),
      ProcessError: new ProcessError('ERR_START_FAILED', 'no', { cause }),
    }
    for (const [name, error] of Object.entries(errors)) {
      assert.ok(error instanceof ProcessError, name)
      assert.equal(error.name, name)
      assert.equal(error.cause, cause, name)
      assert.match(error.stack ?? '', /errors\.test/, name)
    }
  })

  test('a class has the code that its page names, and SerializeError and ClosedError take their others', () => {
    assert.equal(new TimeoutError('').code, 'ERR_TIMEOUT')
    assert.equal(new ClosedError('').code, 'ERR_CLOSED')
    assert.equal(new ClosedError('', { code: 'ERR_TERMINATED' }).code, 'ERR_TERMINATED')
    assert.equal(new SerializeError('').code, 'ERR_NOT_SERIALIZABLE')
    assert.equal(new SerializeError('', { code: 'ERR_NOT_DESERIALIZABLE' }).code, 'ERR_NOT_DESERIALIZABLE')
    assert.equal(invalidState('').code, 'ERR_INVALID_STATE')
  })

  test('SerializeError has the path to the culprit, and an empty one when none is known', () => {
    assert.deepEqual(new SerializeError('', { path: ['function f', '.db'] }).path, ['function f', '.db'])
    assert.deepEqual(new SerializeError('').path, [])
  })

  test('MaybeEncodingError is a SerializeError that describes the value', () => {
    const error = new MaybeEncodingError('', {
      value: 'a Promise',
      code: 'ERR_NOT_SERIALIZABLE',
      path: ['.x'],
    })
    assert.ok(error instanceof SerializeError)
    assert.equal(error.code, 'ERR_RESULT_NOT_SERIALIZABLE')
    assert.equal(error.value, 'a Promise')
    assert.deepEqual(error.path, ['.x'])
  })

  test('WorkerDiedError has the facts of the death as fields', () => {
    const facts = { pid: 4711, workerName: 'w-1', exitCode: null, signal: 'SIGKILL', taskIndex: 0 } as const
    const { pid, workerName, exitCode, signal, taskIndex, code } = new WorkerDiedError('dead', facts)
    assert.deepEqual({ pid, workerName, exitCode, signal, taskIndex }, facts)
    assert.equal(code, 'ERR_WORKER_DIED')
  })

  test('RemoteError shows the stack of the other process', () => {
    const error = new RemoteError('thrown there', { pid: 7, workerName: 'w', stack: 'at there.ts:1' })
    assert.equal(error.stack, 'at there.ts:1')
    assert.equal(error.code, 'ERR_REMOTE')
    assert.equal(error.pid, 7)
  })

  test('invalidArgument() makes a built-in error with a code, which is no ProcessError', () => {
    for (const kind of [TypeError, RangeError]) {
      const error = invalidArgument(kind, 'Cannot count')
      assert.equal(error.constructor, kind)
      assert.equal(error.code, 'ERR_INVALID_ARGUMENT')
      assert.ok(!(error instanceof ProcessError))
    }
  })
})

describe('docs/errors', () => {
  test('codesOf() reads a union with comments in it', () => {
    const source =
      "export type ErrorCode =\n  | 'ERR_A'\n  // Why.\n  | 'ERR_B'\n\nexport type Other =\n  | 'ERR_C'"
    assert.deepEqual(codesOf(source), ['ERR_A', 'ERR_B'])
  })

  test('every code has a page, and every page a code', () => {
    assert.ok(codes.length > 10)
    assert.deepEqual(pages.toSorted(), codes.map(code => `${code}.md`).toSorted())
  })

  test('the list of codes in docs/errors/README.md has the order of the source', () => {
    const listed = [...read('docs/errors/README.md').matchAll(/^\| \[(\w+)\]\((\w+)\.md\)\s+\| \S/gm)]
    assert.deepEqual(
      listed.map(match => match[1]),
      codes,
    )
    assert.deepEqual(
      listed.map(match => match[2]),
      codes,
    )
  })

  for (const code of codes) {
    test(`the page of ${code} names its class and says what happened and what to do`, () => {
      const page = read(`docs/errors/${code}.md`)
      const shape =
        /^# (\w+)\n\nClass: (.+)\n\n## What happened\n\n.{40,}\n\n## What the error tells\n\n.{20,}\n\n## To fix\n\n- ./
      const [, title, classes = ''] = shape.exec(page) ?? []
      assert.equal(title, code, `docs/errors/${code}.md does not have the shape of the other pages`)
      const names = [...classes.matchAll(/`(\w+)`/g)].map(match => match[1] ?? '')
      assert.ok(names.length > 0)
      for (const name of names)
        assert.ok(name in multiproc || name in globalThis, `${name} is neither exported nor built in`)
    })
  }
})
