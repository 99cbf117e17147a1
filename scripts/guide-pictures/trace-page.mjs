// A page that draws a file of startTrace() as it is: what was written at which time, on the tracks of the file. It is no
// viewer: Perfetto shows the same events, and much more of each.
import { readFileSync } from 'node:fs'
import { colors } from './page-colors.mjs'

const widthPx = 1180
const labelPx = 130
/** For what stands beside the last wait. */
const lastLabelPx = 95
const rowPx = 24
const palette = ['blue', 'violet', 'green', 'cyan']

export function tracePage(file) {
  const events = JSON.parse(readFileSync(file, 'utf8'))
  const names = new Map(
    events.filter(({ name }) => name === 'process_name').map(event => [event.pid, event.args.name]),
  )
  const spans = spansOf(events)
  const begin = Math.min(...spans.map(({ from }) => from))
  const end = Math.max(...spans.map(({ to }) => to))
  const scale = (widthPx - labelPx - lastLabelPx) / (end - begin)
  const x = at => labelPx + (at - begin) * scale
  const functions = [...new Set(spans.filter(({ kind }) => kind === 'call').map(({ name }) => name))]
  let y = 0
  const drawn = []
  for (const [pid, name] of [...names].toSorted(([, a], [, b]) => order(a, b))) {
    const rows = inRows(spans.filter(span => span.pid === pid))
    drawn.push(`<line class="rule" x1="0" x2="${widthPx}" y1="${y}" y2="${y}"/>`)
    drawn.push(`<text class="label" x="4" y="${y + 19}">${escaped(name)}</text>`)
    for (const row of rows) {
      y += 3
      for (const span of row)
        drawn.push(box(span, { x: x(span.from), y, width: (span.to - span.from) * scale, functions }))
      y += rowPx
    }
    y += 5
  }
  const axis = axisMarks({ begin, end, x, y })
  return `<!doctype html><meta charset="utf-8"><style>${colors}
    #picture { display: inline-block; background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
    text { font: 12px "DejaVu Sans", sans-serif; fill: var(--ink); } .label { font-weight: bold; }
    .inside { fill: var(--paper); } .faint { fill: var(--faint); } .rule { stroke: var(--line); }
    ${palette.map(color => `.${color} { fill: var(--${color}); }`).join(' ')}
    .chunk { fill: var(--gray); } .wait { fill: var(--yellow); } .failed { fill: var(--red); }
  </style><div id="picture"><svg width="${widthPx}" height="${y + 24}">${axis}${drawn.join('')}</svg></div>`
}

/** The parent first. */
function order(a, b) {
  if (a === 'parent' || b === 'parent') return a === 'parent' ? -1 : 1
  return a < b ? -1 : 1
}

/** What has a begin and an end, whichever way it is written. */
function spansOf(events) {
  const spans = []
  const open = new Map()
  for (const { ph, cat, name, id, pid, ts, dur, args } of events) {
    const key = `${pid} ${cat} ${id}`
    if (ph === 'X') spans.push({ pid, kind: cat, name, from: ts, to: ts + dur, failed: args?.failed })
    else if (ph === 'b') open.set(key, { pid, kind: cat, name, from: ts })
    else if (ph === 'e' && open.has(key)) {
      spans.push({ ...open.get(key), to: ts })
      open.delete(key)
    }
  }
  return spans.filter(({ kind }) => kind !== 'worker')
}

/** Each span in the first row where it does not overlap another: calls first, then chunks, then the rest. */
function inRows(spans) {
  const groups = [['call'], ['chunk'], ['task']].map(kinds =>
    spans.filter(({ kind }) => kinds.includes(kind)),
  )
  const others = spans.filter(({ kind }) => !['call', 'chunk', 'task'].includes(kind))
  return [...groups, others].flatMap(group => {
    const rows = []
    for (const span of group.toSorted((a, b) => a.from - b.from)) {
      const row = rows.find(spansOfRow => spansOfRow.at(-1).to <= span.from)
      if (row) row.push(span)
      else rows.push([span])
    }
    return rows
  })
}

function box({ name, kind, failed }, { x, y, width, functions }) {
  const isOfFunction = kind === 'call' || kind === 'task'
  const isWait = !isOfFunction && kind !== 'chunk'
  const color = isOfFunction ? palette[functions.indexOf(name) % palette.length] : isWait ? 'wait' : 'chunk'
  const isInside = !isWait && name.length * 7 + 8 < width
  const className = isInside && kind !== 'chunk' ? 'inside' : ''
  // Beside a wait there is room.
  const textX = isWait ? x + width + 4 : x + 5
  const text =
    isInside || isWait ? `<text class="${className}" x="${textX}" y="${y + 16}">${escaped(name)}</text>` : ''
  const shape = `<rect class="${failed ? 'failed' : color}" x="${x}" y="${y}" width="${Math.max(1, width - 1)}" height="${rowPx - 2}" rx="2"/>`
  return shape + text
}

/** A mark at round times, eight or so. */
function axisMarks({ begin, end, x, y }) {
  const lengthMs = (end - begin) / 1000
  const stepMs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find(step => lengthMs / step <= 10) ?? 5000
  const marks = []
  for (let atMs = 0; atMs <= lengthMs; atMs += stepMs) {
    const at = x(begin + atMs * 1000)
    marks.push(`<line class="rule" x1="${at}" x2="${at}" y1="0" y2="${y}"/>`)
    marks.push(`<text class="faint" x="${at}" y="${y + 16}">${atMs} ms</text>`)
  }
  return marks.join('')
}

const escaped = text => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
