/**
 * Reads the file of a trace and checks it against the Trace Event Format: the fields that each phase must have, begins and
 * ends in pairs, spans of one thread that lie in or behind each other, and a name for each process and thread.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

export interface TraceEvent {
  ph: string
  name: string
  cat?: string
  pid: number
  tid: number
  ts: number
  dur: number
  id?: number
  s?: string
  args: Record<string, unknown>
}

/** A piece of time in microseconds. */
export interface Period {
  from: number
  to: number
  event: TraceEvent
  ending: Record<string, unknown>
}

/** Ends are rounded to nanoseconds. */
const ROUNDING = 0.002

type Check = (value: unknown) => boolean

const isTime: Check = value => typeof value === 'number' && Number.isFinite(value) && value >= 0
const isText: Check = value => typeof value === 'string' && value !== ''
const isWhole: Check = value => Number.isInteger(value)
const isRecord: Check = value => typeof value === 'object' && value !== null && !Array.isArray(value)

const always: Record<string, Check> = { name: isText, ph: isText, pid: isWhole, tid: isWhole }
/** The fields of each phase. Others are not allowed. */
const SCHEMA: Record<string, Record<string, Check>> = {
  M: { ...always, args: isRecord },
  X: { ...always, cat: isText, ts: isTime, dur: isTime, args: isRecord },
  b: { ...always, cat: isText, ts: isTime, id: isWhole, args: isRecord },
  e: { ...always, cat: isText, ts: isTime, id: isWhole, args: isRecord },
  i: { ...always, ts: isTime, s: value => value === 't' },
}

/** The events of a whole file. */
export function eventsIn(path: string): TraceEvent[] {
  const events = JSON.parse(readFileSync(path, 'utf8')) as TraceEvent[]
  assertFormat(events)
  return events
}

/** @throws AssertionError for what breaks the format. */
export function assertFormat(events: readonly TraceEvent[]): void {
  const named = new Set<string>()
  for (const event of events) {
    const told = JSON.stringify(event)
    const schema = SCHEMA[event.ph]
    assert.ok(schema, `an unknown phase: ${told}`)
    for (const [field, check] of Object.entries(schema))
      assert.ok(check((event as unknown as Record<string, unknown>)[field]), `${field} of ${told}`)
    for (const field of Object.keys(event)) assert.ok(field in schema, `${field} of ${told}`)
    if (event.ph !== 'M') continue
    assert.ok(['process_name', 'thread_name'].includes(event.name), told)
    assert.ok(isText(event.args['name']), told)
    named.add(event.name === 'process_name' ? `${event.pid}` : `${event.pid} ${event.tid}`)
  }
  for (const { pid, tid, ph } of events) {
    if (ph === 'M') continue
    assert.ok(named.has(`${pid}`), `the process ${pid} has no name`)
    assert.ok(named.has(`${pid} ${tid}`), `the thread ${tid} of ${pid} has no name`)
  }
  for (const category of new Set(events.flatMap(({ cat }) => cat ?? []))) periodsOf(events, category)
  assertNested(events)
}

/** Of a thread, each span lies inside of another, or behind it. */
function assertNested(events: readonly TraceEvent[]): void {
  const tracks = new Map<string, TraceEvent[]>()
  for (const event of events.filter(({ ph }) => ph === 'X')) {
    const track = `${event.pid} ${event.tid}`
    tracks.set(track, [...(tracks.get(track) ?? []), event])
  }
  for (const spans of tracks.values()) {
    const around: TraceEvent[] = []
    for (const span of spans.toSorted((a, b) => a.ts - b.ts || b.dur - a.dur)) {
      while (around.length > 0 && endOf(around.at(-1)!) <= span.ts + ROUNDING) around.pop()
      const outer = around.at(-1)
      if (outer) assert.ok(endOf(span) <= endOf(outer) + ROUNDING, JSON.stringify([outer, span]))
      around.push(span)
    }
  }
}

function endOf({ ts, dur }: TraceEvent): number {
  return ts + dur
}

/** Begins and ends of a category, by id: each begins once and ends once at most. */
export function periodsOf(events: readonly TraceEvent[], category: string): Map<number, Period> {
  const periods = new Map<number, Period>()
  for (const event of events.filter(({ ph, cat }) => cat === category && 'be'.includes(ph))) {
    const known = periods.get(event.id!)
    if (event.ph === 'b') {
      assert.equal(known, undefined)
      periods.set(event.id!, { from: event.ts, to: Infinity, event, ending: {} })
    } else {
      assert.equal(known?.to, Infinity, JSON.stringify(event))
      assert.deepEqual(
        [event.pid, event.tid, event.name],
        [known.event.pid, known.event.tid, known.event.name],
      )
      known.to = event.ts
      known.ending = event.args
    }
  }
  return periods
}

/** The spans of a category. */
export function spansOf(events: readonly TraceEvent[], category: string): Period[] {
  return events
    .filter(({ ph, cat }) => ph === 'X' && cat === category)
    .map(event => ({ from: event.ts, to: endOf(event), event, ending: {} }))
}

export function assertInside(inner: { from: number; to: number }, outer: Period, name: string): void {
  assert.ok(
    outer.from <= inner.from + ROUNDING && inner.to <= outer.to + ROUNDING,
    `${name}: ${inner.from} to ${inner.to} is not inside of ${outer.from} to ${outer.to}`,
  )
}
