import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rememberSourceMap, remapStack } from '#src/serialize/function/stack-remapping.js'

const url = 'file:///app/out.js'
// One segment a line: line 1 column 0 comes from src.ts 10:4, line 2 column 2 from 12:0.
const map = { version: 3, sources: ['src.ts'], names: [], mappings: 'AASI;EAEJ' }
const dataUrl = `data:application/json;base64,${Buffer.from(JSON.stringify(map)).toString('base64')}`

test('a position in rebuilt code becomes the one in the file that it was made from', () => {
  rememberSourceMap(url, dataUrl)
  const stack = `Error: x\n    at f (${url}?multiproc-generated:1:1)\n    at ${url}?multiproc-generated:2:3`
  assert.equal(remapStack(stack), 'Error: x\n    at f (/app/src.ts:10:5)\n    at /app/src.ts:12:1')
})

test('positions without the mark, and of unknown scripts, stay as they are', () => {
  const stack = `Error: x\n    at f (${url}:1:1)\n    at g (file:///other.js?multiproc-generated:1:1)`
  assert.equal(remapStack(stack), stack)
})

test('the mark goes away when the map can not be read', () => {
  rememberSourceMap('file:///app/broken.js', 'missing.js.map')
  assert.equal(remapStack('at file:///app/broken.js?multiproc-generated:3:4'), 'at file:///app/broken.js:3:4')
})
