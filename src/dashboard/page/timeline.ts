/**
 * What each worker did in the last seconds, drawn on a canvas. Invariant: only what is in view is drawn, and pieces that
 * are thinner than a pixel once for each pixel, so that 64 workers with thousands of pieces stay smooth.
 */
import type { PoolRow, PoolSpan } from '../live-messages.ts'
import { make, setText } from './elements.ts'
import { clock, count, duration, taskTime } from './format.ts'
import { colour } from './theme.ts'

interface Span {
  functionName: string
  startMs: number
  endMs: number
  tasks: number
  failed: number
  index: number
}

interface Row {
  key: string
  /** `undefined` for the title of a pool. */
  spans: Span[] | undefined
  label: string
  runningMs: number
  functionName: string | null
}

const axisPx = 20
/** What is shown is so old, so that the next pieces have arrived before their place comes into view. */
const lateMs = 700
const frameMs = 50
const rowsMax = 260

export class Timeline {
  readonly #canvas: HTMLCanvasElement
  readonly #context: CanvasRenderingContext2D
  readonly #details: HTMLElement
  readonly #tip: HTMLElement
  readonly #spans = new Map<string, Span[]>()
  readonly #calmly = matchMedia('(prefers-reduced-motion: reduce)')
  #rows: Row[] = []
  #windowMs = 30_000
  #keptMs = 60_000
  /** The time of the program at the moment `#syncedAtMs` of this page. */
  #latestMs = 0
  #syncedAtMs = 0
  #isPaused = false
  #hasEnded = false
  #frozenAtMs: number | undefined
  #selected: { row: number; span: Span | undefined } | undefined
  #lastFrameMs = 0
  #colours = readColours()

  constructor(parent: HTMLElement, details: HTMLElement) {
    this.#canvas = make('canvas', {
      attributes: {
        tabindex: '0',
        role: 'application',
        'aria-roledescription': 'timeline',
        'aria-label':
          'Timeline of the workers. Up and down choose a worker, left and right a piece of its work, Escape leaves.',
        'aria-describedby': details.id,
      },
    })
    this.#tip = make('p', { class: 'tip', attributes: { hidden: '', 'aria-hidden': 'true' } })
    this.#details = details
    parent.append(this.#canvas, this.#tip)
    this.#context = this.#canvas.getContext('2d')!
    this.#canvas.addEventListener('pointermove', event => this.#point(event))
    this.#canvas.addEventListener('pointerleave', () => {
      this.#tip.hidden = true
    })
    this.#canvas.addEventListener('keydown', event => this.#press(event))
    this.#canvas.addEventListener('blur', () => this.#select(undefined))
    new ResizeObserver(() => this.#draw()).observe(parent)
    const frame = (nowMs: number): void => {
      requestAnimationFrame(frame)
      if (this.#calmly.matches || document.hidden || nowMs - this.#lastFrameMs < frameMs) return
      this.#lastFrameMs = nowMs
      if (!this.#isPaused && !this.#hasEnded && this.#frozenAtMs === undefined) this.#draw()
    }
    requestAnimationFrame(frame)
  }

  set windowMs(value: number) {
    this.#windowMs = value
    this.#draw()
  }

  set isPaused(value: boolean) {
    this.#isPaused = value
    this.#frozenAtMs = value ? this.#endMs() : undefined
    this.#draw()
  }

  /** Nothing comes any more: time stands still. */
  set hasEnded(value: boolean) {
    if (value && !this.#hasEnded) this.#frozenAtMs = this.#latestMs
    else if (!value && this.#hasEnded) this.#frozenAtMs = undefined
    this.#hasEnded = value
    this.#draw()
  }

  redraw(): void {
    this.#colours = readColours()
    this.#draw()
  }

  /** Another program, or this one from its beginning. */
  reset(keptMs: number): void {
    this.#spans.clear()
    this.#rows = []
    this.#keptMs = keptMs
  }

  add(spans: readonly PoolSpan[]): void {
    for (const [pool, worker, functionName, startMs, durationMs, tasks, failed, index] of spans) {
      const key = `${pool} ${worker}`
      let own = this.#spans.get(key)
      if (!own) this.#spans.set(key, (own = []))
      own.push({ functionName, startMs, endMs: startMs + durationMs, tasks, failed, index })
    }
  }

  show(pools: readonly PoolRow[], atMs: number | undefined): void {
    if (atMs !== undefined && atMs > this.#latestMs) {
      this.#latestMs = atMs
      this.#syncedAtMs = performance.now()
    }
    const rows: Row[] = []
    const there = pools.filter(({ workers }) => workers.length > 0)
    for (const { number, name, workers } of there) {
      if (rows.length >= rowsMax) break
      if (there.length > 1) {
        rows.push({ key: `${number}`, spans: undefined, label: name, runningMs: 0, functionName: null })
      }
      for (const worker of workers.slice(0, rowsMax)) {
        const key = `${number} ${worker.name}`
        rows.push({
          key,
          spans: this.#spans.get(key) ?? [],
          label: worker.name,
          runningMs: worker.state === 'working' ? worker.runningMs : 0,
          functionName: worker.functionName,
        })
      }
    }
    const isOther = rows.length !== this.#rows.length
    this.#rows = rows
    if (isOther) this.#select(undefined)
    this.#forget(new Set(rows.map(({ key }) => key)))
    if (!this.#isPaused && (this.#calmly.matches || this.#hasEnded || isOther)) this.#draw()
  }

  #forget(there: ReadonlySet<string>): void {
    const beforeMs = this.#latestMs - this.#keptMs
    for (const [key, spans] of this.#spans) {
      if (!there.has(key)) this.#spans.delete(key)
      else {
        const kept = spans.findIndex(({ endMs }) => endMs >= beforeMs)
        if (kept > 0) spans.splice(0, kept)
        else if (kept < 0) spans.length = 0
      }
    }
  }

  /** The time at the right edge. */
  #endMs(): number {
    if (this.#frozenAtMs !== undefined) return this.#frozenAtMs
    return this.#latestMs - lateMs + Math.min(performance.now() - this.#syncedAtMs, 2000)
  }

  get #rowPx(): number {
    return this.#rows.length > 40 ? 11 : this.#rows.length > 16 ? 16 : 22
  }

  get #labelPx(): number {
    return this.#canvas.clientWidth < 600 ? 34 : 112
  }

  #draw(): void {
    const canvas = this.#canvas
    const width = canvas.parentElement!.clientWidth
    const height = Math.max(3, this.#rows.length) * this.#rowPx + axisPx
    const scale = devicePixelRatio
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale)
      canvas.height = Math.round(height * scale)
      canvas.style.width = `${width}px`
      canvas.style.height = `${height}px`
    }
    const context = this.#context
    context.setTransform(scale, 0, 0, scale, 0, 0)
    context.clearRect(0, 0, width, height)
    const endMs = this.#endMs()
    const startMs = endMs - this.#windowMs
    const left = this.#labelPx
    const pxPerMs = (width - left) / this.#windowMs
    this.#drawAxis(startMs, { width, height, pxPerMs })
    if (this.#rows.length === 0) {
      context.fillStyle = this.#colours.muted
      context.fillText('No workers yet', left + 8, this.#rowPx)
    }
    for (const [at, row] of this.#rows.entries()) this.#drawRow(row, { at, startMs, endMs, pxPerMs, width })
  }

  #drawAxis(
    startMs: number,
    { width, height, pxPerMs }: { width: number; height: number; pxPerMs: number },
  ): void {
    const context = this.#context
    const left = this.#labelPx
    const stepMs = this.#windowMs / (width < 600 ? 3 : 6)
    context.font = '11px system-ui, sans-serif'
    context.textBaseline = 'alphabetic'
    if (this.#latestMs === 0) return
    for (let ms = Math.ceil(startMs / stepMs) * stepMs; ms <= startMs + this.#windowMs; ms += stepMs) {
      const x = left + (ms - startMs) * pxPerMs
      context.fillStyle = this.#colours.grid
      context.fillRect(Math.round(x), 0, 1, height - axisPx + 4)
      context.fillStyle = this.#colours.muted
      const text = clock(ms)
      const textWidth = context.measureText(text).width
      if (x + textWidth / 2 < width && x - textWidth / 2 > left - 20)
        context.fillText(text, x - textWidth / 2, height - 4)
    }
  }

  #drawRow(
    { spans, label, runningMs }: Row,
    {
      at,
      startMs,
      endMs,
      pxPerMs,
      width,
    }: { at: number; startMs: number; endMs: number; pxPerMs: number; width: number },
  ): void {
    const context = this.#context
    const rowPx = this.#rowPx
    const left = this.#labelPx
    const top = at * rowPx
    const fontPx = Math.min(12, rowPx - 1)
    context.textBaseline = 'middle'
    if (!spans) {
      context.font = `600 ${fontPx}px system-ui, sans-serif`
      context.fillStyle = this.#colours.text
      context.fillText(label, 0, top + rowPx / 2 + 1, width)
      return
    }
    context.font = `${fontPx}px system-ui, sans-serif`
    context.fillStyle = this.#selected?.row === at ? this.#colours.text : this.#colours.muted
    context.fillText(left < 60 ? (/\d+$/.exec(label)?.[0] ?? label) : label, 0, top + rowPx / 2, left - 8)
    context.fillStyle = this.#colours.track
    context.fillRect(left, top + 1, width - left, rowPx - 2)
    this.#drawRunning(runningMs, { top, endMs, pxPerMs, width })
    let drawnTo = -1
    for (let index = firstEndingAfter(spans, startMs); index < spans.length; index++) {
      const span = spans[index]!
      if (span.startMs > endMs) break
      const from = Math.max(left, left + (span.startMs - startMs) * pxPerMs)
      const to = Math.min(width, left + (span.endMs - startMs) * pxPerMs)
      // Of those within one pixel the first one stands for all, unless one of them failed.
      if (to <= drawnTo && span.failed === 0) continue
      const isWide = to - from > 3
      const widthPx = Math.max(1, to - from - (isWide ? 1 : 0))
      context.fillStyle = this.#colours.working
      context.fillRect(from, top + 1, widthPx, rowPx - 2)
      drawnTo = Math.floor(from) + 1
      if (span.failed > 0) {
        // Also a notch, for those who cannot tell the colours apart.
        const part = Math.max(0.34, span.failed / span.tasks)
        const failedPx = (rowPx - 2) * part
        context.fillStyle = this.#colours.failed
        context.fillRect(from, top + rowPx - 1 - failedPx, Math.max(2, widthPx), failedPx)
      }
      if (this.#selected?.span === span) this.#outline(from, top, Math.max(4, widthPx))
      if (isWide && to - from > 56 && rowPx >= 16) {
        context.fillStyle = this.#colours.onWorking
        context.save()
        context.beginPath()
        context.rect(from, top, widthPx - 4, rowPx)
        context.clip()
        context.fillText(nameOf(span), from + 5, top + rowPx / 2)
        context.restore()
      }
    }
  }

  /** What runs has no end yet, and is drawn up to the right edge. */
  #drawRunning(
    runningMs: number,
    { top, endMs, pxPerMs, width }: { top: number; endMs: number; pxPerMs: number; width: number },
  ): void {
    if (runningMs < 100) return
    const runs = this.#latestMs - runningMs
    const from = Math.max(this.#labelPx, width - (endMs - runs) * pxPerMs)
    if (from >= width) return
    this.#context.fillStyle = this.#colours.running
    this.#context.fillRect(from, top + 1, width - from, this.#rowPx - 2)
  }

  #outline(from: number, top: number, widthPx: number): void {
    this.#context.strokeStyle = this.#colours.text
    this.#context.lineWidth = 2
    this.#context.strokeRect(from, top + 1, widthPx, this.#rowPx - 2)
  }

  #point({ offsetX, offsetY }: PointerEvent): void {
    const row = this.#rows[Math.floor(offsetY / this.#rowPx)]
    const width = this.#canvas.clientWidth
    const pxPerMs = (width - this.#labelPx) / this.#windowMs
    const atMs = this.#endMs() - (width - offsetX) / pxPerMs
    const text =
      row?.spans && offsetX >= this.#labelPx ? this.#textAt(row, { atMs, slackMs: 2 / pxPerMs }) : undefined
    this.#tip.hidden = text === undefined
    if (text === undefined) return
    setText(this.#tip, text)
    const tipWidth = this.#tip.offsetWidth
    this.#tip.style.left = `${Math.max(0, Math.min(width - tipWidth, offsetX + 12))}px`
    this.#tip.style.top = `${offsetY + 14}px`
  }

  #textAt(
    { spans, label, runningMs, functionName }: Row,
    { atMs, slackMs }: { atMs: number; slackMs: number },
  ): string | undefined {
    const span = spans![firstEndingAfter(spans!, atMs - slackMs)]
    if (span && span.startMs <= atMs + slackMs) return describe(label, span)
    if (runningMs >= 100 && functionName !== null && atMs >= this.#latestMs - runningMs) {
      return `${label}: ${functionName} runs, for ${duration(runningMs)} so far`
    }
    return undefined
  }

  #press(event: KeyboardEvent): void {
    const moves: Record<string, [rows: number, spans: number]> = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
    }
    if (event.key === 'Escape') this.#select(undefined)
    const move = moves[event.key]
    if (!move || this.#rows.length === 0) return
    event.preventDefault()
    this.#frozenAtMs ??= this.#endMs()
    const [byRows, bySpans] = move
    let row = this.#selected?.row ?? -1
    if (byRows !== 0 || row < 0) {
      do row = (row + (byRows || 1) + this.#rows.length) % this.#rows.length
      while (!this.#rows[row]!.spans)
    }
    const spans = this.#rows[row]!.spans!
    const current = this.#selected?.span
    const at = current && byRows === 0 ? spans.indexOf(current) + bySpans : spans.length - 1
    this.#select({ row, span: spans[Math.min(spans.length - 1, Math.max(0, at))] })
  }

  #select(selected: { row: number; span: Span | undefined } | undefined): void {
    if (!selected && !this.#selected) return
    this.#selected = selected
    if (selected) {
      const { label, functionName } = this.#rows[selected.row]!
      const idle = functionName === null ? 'nothing in the last seconds' : `${functionName} runs`
      setText(this.#details, selected.span ? describe(label, selected.span) : `${label}: ${idle}`)
    } else if (!this.#isPaused && !this.#hasEnded) {
      this.#frozenAtMs = undefined
    }
    this.#draw()
  }
}

function nameOf({ functionName, index }: Span): string {
  return index >= 0 ? `${functionName} #${index}` : functionName
}

function describe(worker: string, span: Span): string {
  const { tasks, failed, startMs, endMs } = span
  const tookMs = endMs - startMs
  const what =
    tasks === 1
      ? `${nameOf(span)}, ${taskTime(tookMs)}${failed > 0 ? ', failed' : ''}`
      : `${count(tasks)} × ${span.functionName} in ${taskTime(tookMs)}, ${taskTime(tookMs / tasks)} each${failed > 0 ? `, ${count(failed)} failed` : ''}`
  return `${worker}: ${what}, at ${clock(startMs)}`
}

/** The index of the first span that ends after `ms`; they are in the order of their ends. */
function firstEndingAfter(spans: readonly Span[], ms: number): number {
  let low = 0
  let high = spans.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (spans[middle]!.endMs < ms) low = middle + 1
    else high = middle
  }
  return low
}

function readColours(): Record<
  'working' | 'failed' | 'running' | 'track' | 'text' | 'muted' | 'grid' | 'onWorking',
  string
> {
  return {
    working: colour('--working'),
    failed: colour('--failed'),
    running: colour('--running'),
    track: colour('--track'),
    text: colour('--text'),
    muted: colour('--muted'),
    grid: colour('--grid'),
    onWorking: colour('--on-working'),
  }
}
