import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { boundedWait } from '#src/platform/bounded-wait.js'

const onTimeout = (): string => 'too late'
const never = new Promise<string>(() => {})

test('boundedWait() settles as the promise does', async () => {
  assert.equal(await boundedWait(Promise.resolve('value'), { timeout: 1e6 }, { onTimeout }), 'value')
  const why = new Error('why')
  await assert.rejects(boundedWait(Promise.reject(why), {}, { onTimeout }), error => error === why)
})

test('boundedWait() gives what onTimeout() gives, or rejects with what it throws', async () => {
  assert.equal(await boundedWait(never, { timeout: 0 }, { onTimeout }), 'too late')
  const why = new Error('why')
  const onTimeoutThrow = (): never => {
    throw why
  }
  await assert.rejects(
    boundedWait(never, { timeout: 0 }, { onTimeout: onTimeoutThrow }),
    error => error === why,
  )
})

test('boundedWait() rejects with the reason of the signal, before or during the wait', async () => {
  const why = new Error('why')
  await assert.rejects(
    boundedWait(never, { signal: AbortSignal.abort(why) }, { onTimeout }),
    error => error === why,
  )
  const controller = new AbortController()
  const waiting = assert.rejects(
    boundedWait(never, { signal: controller.signal }, { onTimeout }),
    error => error === why,
  )
  controller.abort(why)
  await waiting
})

test('boundedWait() waits out timeouts that are longer than a timer of Node.js', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  let isDone = false
  const late = (): void => {
    isDone = true
  }
  void boundedWait(never, { timeout: 2 ** 31 + 1000 }, { onTimeout: late })
  mock.timers.tick(2 ** 31 - 1)
  assert.equal(isDone, false)
  mock.timers.tick(1001)
  assert.equal(isDone, true)
  mock.timers.reset()
})

test('boundedWait() rejects a timeout that is no number of milliseconds', async () => {
  for (const timeout of [NaN, '1', null]) {
    await assert.rejects(boundedWait(never, { timeout: timeout as number }, { onTimeout }), {
      code: 'ERR_INVALID_ARGUMENT',
    })
  }
})
