/** How many chunks travel for each process. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LookAhead } from '#src/cluster/look-ahead.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

/** After so many chunks that took so long. */
function after(elapsedMs: number, count = 20): LookAhead {
  const ahead = new LookAhead({ longMs: 500 })
  for (let n = 0; n < count; n++) ahead.note(elapsedMs)
  return ahead
}

describe('the number of chunks on their way for a process', () => {
  test('is one before anything was measured, and for chunks that are long', () => {
    assert.equal(new LookAhead({ longMs: 500 }).perProcess(0), 1)
    assert.equal(after(500).perProcess(0), 1)
  })

  test('is some 20 ms of work, and between 2 and 16', () => {
    assert.equal(after(0.01).perProcess(0), 16)
    assert.equal(after(0).perProcess(0), 16)
    assert.equal(after(4).perProcess(0), 5)
    assert.equal(after(499).perProcess(0), 2)
  })

  test('is 2 when what travels has many bytes, and one if it is long as well', () => {
    assert.equal(after(0.01).perProcess((16 << 20) + 1), 2)
    assert.equal(after(500).perProcess((16 << 20) + 1), 1)
  })

  test('follows the newest chunks: four long ones after many short ones are enough', () => {
    const ahead = after(0.01)
    for (let n = 0; n < 4; n++) ahead.note(600)
    assert.equal(ahead.perProcess(0), 1)
  })
})
