/** Subjects name a chunk so that everybody finds it, and levels follow the priority. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PoolNames, chunkNameIn, levelOf } from '#src/cluster/names.js'

const names = new PoolNames('render')
const chunk = { session: '0123456789abcdef01234567', chunkId: 42 }

test('chunkNameIn() finds the chunk in the subjects of its task, its result and its dead letter', () => {
  for (const subject of [names.task('low', chunk), names.result(chunk), names.deadLetter(chunk)])
    assert.deepEqual(chunkNameIn(subject), chunk)
})

test('chunkNameIn() is undefined for what names no chunk', () => {
  for (const subject of ['', 'mp.c.render', 'mp.r.render.session.x', 'mp.r.render.session.-1', 'mp.r.1'])
    assert.equal(chunkNameIn(subject), undefined)
})

test('levelOf() is normal for 0, and high or low for any other priority', () => {
  assert.deepEqual([-1000, -0.5, 0, 0.5, 1000].map(levelOf), ['low', 'low', 'normal', 'high', 'high'])
})
