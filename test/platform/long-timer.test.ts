import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { LongTimer, TIMER_MS_MAX } from '#src/platform/long-timer.js'

test('a LongTimer is neither early nor late when its delay is longer than a timer of Node.js can be', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    let calls = 0
    const timer = new LongTimer(() => calls++, 3 * TIMER_MS_MAX)
    for (let step = 0; step < 2; step++) mock.timers.tick(TIMER_MS_MAX)
    mock.timers.tick(TIMER_MS_MAX - 1)
    assert.equal(calls, 0)
    mock.timers.tick(1)
    assert.equal(calls, 1)
    mock.timers.tick(TIMER_MS_MAX)
    assert.equal(calls, 1)
    timer.stop()
  } finally {
    mock.timers.reset()
  }
})

test('a LongTimer that was stopped in one of its steps does nothing', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    let calls = 0
    const timer = new LongTimer(() => calls++, 2 * TIMER_MS_MAX)
    mock.timers.tick(TIMER_MS_MAX)
    timer.stop()
    mock.timers.tick(2 * TIMER_MS_MAX)
    assert.equal(calls, 0)
  } finally {
    mock.timers.reset()
  }
})

test('a LongTimer of Infinity never acts', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    let calls = 0
    const timer = new LongTimer(() => calls++, Infinity)
    mock.timers.tick(2 * TIMER_MS_MAX)
    assert.equal(calls, 0)
    timer.stop()
  } finally {
    mock.timers.reset()
  }
})
