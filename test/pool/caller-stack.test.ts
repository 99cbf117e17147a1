import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CallerStacks } from '#src/pool/caller-stack.js'

const stacks = new CallerStacks()
const task = (): void => {}

function call(of: unknown = task): { stack?: string } {
  return stacks.take(of, call)
}
function firstPlace(of?: unknown): { stack?: string } {
  return call(of)
}
function secondPlace(of?: unknown): { stack?: string } {
  return call(of)
}
const place = ({ stack }: { stack?: string }): string | undefined => /at (\w+Place)/.exec(stack ?? '')?.[1]

test('calls of one turn have stacks of their own, wherever they are made', () => {
  for (let round = 0; round < 20; round++) {
    assert.deepEqual([place(firstPlace()), place(secondPlace())], ['firstPlace', 'secondPlace'])
  }
})

test('a long loop shares stacks, and what comes behind it has its own after a pause', async () => {
  await Promise.resolve()
  const different = new Set<object>()
  for (let index = 0; index < 10_000; index++) different.add(firstPlace())
  assert.ok(different.size > 64 && different.size < 400, String(different.size))
  assert.deepEqual([...new Set([...different].map(place))], ['firstPlace'])
  await Promise.resolve()
  assert.equal(place(secondPlace()), 'secondPlace')
})

test('another function has a stack of its own in the midst of a loop', async () => {
  await Promise.resolve()
  for (let index = 0; index < 1000; index++) firstPlace()
  assert.equal(place(secondPlace(() => {})), 'secondPlace')
})

test('a program that wants no stacks gets none', async () => {
  await Promise.resolve()
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    assert.equal(place(firstPlace()), undefined)
    assert.equal(Error.stackTraceLimit, 0)
  } finally {
    Error.stackTraceLimit = limit
  }
})
