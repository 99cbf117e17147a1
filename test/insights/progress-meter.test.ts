/** How far a call is, as numbers and as a line, with a clock of the test. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { duration, progressLine } from '#src/insights/progress-line.js'
import { type ProgressCounts, ProgressMeter } from '#src/insights/progress-meter.js'

class Work {
  counts: ProgressCounts = { done: 0, failed: 0, retried: 0, total: 100, busyWorkers: 2, workers: 4 }
  nowMs = 1000
  readonly meter = new ProgressMeter(
    () => this.counts,
    () => this.nowMs,
  )

  /** So much later so many more are done. */
  go(ms: number, done: number): this {
    this.nowMs += ms
    this.counts = { ...this.counts, done: this.counts.done + done }
    return this
  }
}

test('the rate of steady work is the items of a second, and the rest takes as long as they did', () => {
  const work = new Work()
  for (let second = 0; second < 20; second++) {
    work.go(1000, 2)
    work.meter.measure()
  }
  const { perSecond, remainingMs, elapsedMs, state } = work.meter.measure()
  assert.deepEqual(
    { perSecond, remainingMs, elapsedMs, state },
    { perSecond: 2, remainingMs: 30_000, elapsedMs: 20_000, state: 'running' },
  )
})

test('the remaining time follows the recent rate when the work becomes slower', () => {
  const work = new Work()
  work.counts = { ...work.counts, total: 100_000 }
  for (let second = 0; second < 30; second++) work.go(1000, 1000).meter.measure()
  for (let second = 0; second < 30; second++) work.go(1000, 10).meter.measure()
  assert.equal(work.meter.measure().perSecond, 10)
})

test('the rate of slow work is that of its last eight steps, however long ago they were', () => {
  const work = new Work()
  for (let step = 0; step < 20; step++) work.go(60_000, 1).meter.measure()
  assert.equal(work.meter.measure().perSecond, 1 / 60)
})

test('the rate sinks while nothing is done, and no time remains to be told before anything is', () => {
  const work = new Work()
  assert.equal(work.go(1000, 0).meter.measure().remainingMs, undefined)
  const before = work.go(1000, 10).meter.measure().perSecond
  const after = work.go(10_000, 0).meter.measure().perSecond
  assert.ok(after < before, `${after} < ${before}`)
})

test('nothing is kept for every item: a million measurements leave 64 samples behind', () => {
  const work = new Work()
  work.counts = { ...work.counts, total: 1e9 }
  for (let step = 0; step < 10_000; step++) work.go(250, 7).meter.measure()
  assert.ok(work.meter.sampleCount <= 64, String(work.meter.sampleCount))
})

test('work that has ended keeps its last numbers, finished or stopped', () => {
  const whole = new Work().go(10_000, 100)
  const { state, remainingMs, perSecond } = whole.meter.finish()
  assert.deepEqual({ state, remainingMs, perSecond }, { state: 'finished', remainingMs: 0, perSecond: 10 })
  assert.equal(whole.go(5000, 1).meter.measure().done, 100)
  assert.equal(new Work().go(10, 99).meter.finish().state, 'stopped')
  const endless = new Work()
  endless.counts = { ...endless.counts, total: undefined }
  assert.equal(endless.meter.finish().state, 'stopped')
})

test('the line tells what there is to tell, and no more', () => {
  const work = new Work().go(10_000, 50)
  assert.equal(
    progressLine(work.meter.measure(), 'resize'),
    'resize ██████████░░░░░░░░░░ 50 of 100, 5.0/s, 10 s left, 2/4 busy',
  )
  work.counts = { ...work.counts, failed: 3, retried: 1, total: undefined }
  assert.equal(progressLine(work.meter.measure()), '50 done, 5.0/s, 3 failed, 1 retry, 10 s, 2/4 busy')
  assert.equal(progressLine(work.meter.finish()), '50 done, 5.0/s, 3 failed, 1 retry, 10 s, stopped')
  const none = new Work()
  none.counts = { ...none.counts, total: 0 }
  assert.equal(progressLine(none.meter.finish()), '0 of 0, 0.0/s, 0 s')
})

test('a duration has its two largest units', () => {
  assert.deepEqual([1, 59_000, 61_000, 3_599_000, 3_600_000, 90_000_000].map(duration), [
    '1 s',
    '59 s',
    '1 min 1 s',
    '59 min 59 s',
    '1 h 0 min',
    '25 h 0 min',
  ])
})
