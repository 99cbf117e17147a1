/** The waits between attempts to connect, by the rule of the client: an attempt when `last + delay <= now` by the clock. */
import assert from 'node:assert/strict'
import { afterEach, describe, test } from 'node:test'
import { checkLeaks } from '../leak-check.js'
import { setClock } from './wrong-clock.js'
import { reconnectDelay } from '#src/cluster/reconnect-delay.js'

checkLeaks()

const hourMs = 3600_000
const delayMs = 250

/** Whether a server that was tried at `lastMs` is tried now. */
const isTried = (delay: () => number, lastMs: number): boolean => lastMs + delay() <= Date.now()

describe('the wait before another attempt', () => {
  afterEach(() => setClock(0))

  test('is the one that was asked for while nobody sets the clock, or when it was set forward', () => {
    const delay = reconnectDelay(delayMs)
    assert.equal(delay(), delayMs)
    setClock(hourMs)
    assert.equal(delay(), delayMs)
  })

  test('is none after a clock was set back, although the last attempt was only just before', () => {
    const delay = reconnectDelay(delayMs)
    const lastMs = Date.now()
    setClock(-5 * hourMs)
    assert.ok(isTried(delay, lastMs))
  })

  test('is none for each server of a cluster whose last attempt was before the clock was set back', () => {
    const delay = reconnectDelay(delayMs)
    const lastMs = [Date.now(), Date.now() - hourMs, Date.now()]
    setClock(-hourMs)
    for (const one of lastMs) assert.ok(isTried(delay, one))
  })

  test('is none for a server that was not tried between two times at which the clock was set back', () => {
    const delay = reconnectDelay(delayMs)
    const [first, other] = [Date.now(), Date.now()]
    setClock(-hourMs)
    assert.ok(isTried(delay, first))
    setClock(-3 * hourMs)
    assert.ok(isTried(delay, other))
  })

  test('is the one that was asked for again when some attempts have been made', () => {
    const delay = reconnectDelay(delayMs)
    setClock(-hourMs)
    let attempts = 0
    while (delay() !== delayMs) assert.ok(++attempts < 100, 'it goes on without a wait')
    assert.ok(attempts > 3, 'one for each server')
  })
})
