/**
 * The charts over time, drawn by uPlot. Invariant: they are drawn from the points that the page keeps, so that other
 * colours, another width, or another program mean drawing them again and nothing else.
 */
import type UPlot from 'uplot'
import type { Point, PoolRow } from '../live-messages.ts'
import { make, setAttribute, setText } from './elements.ts'
import { bytes, clock, percent, rate, shortCount, taskTime } from './format.ts'
import { colour } from './theme.ts'

/** One line of a chart. */
interface Line {
  label: string
  /** A variable of the style sheet. */
  colour: string
  read: (point: Point) => number | null
  isFilled?: boolean
  /** Another axis, from 0 to its own largest value. */
  scale?: string
}

interface ChartOptions {
  title: string
  format: (value: number) => string
  lines: (pools: readonly PoolRow[]) => Line[]
  isLogarithmic?: boolean
  /** Ticks at whole MiB, as people count memory, and not at round numbers of bytes. */
  isBinary?: boolean
}

/** Distinct also to who sees few colours, and in grey: they differ in lightness. */
const LINE_COLOURS = ['--line-1', '--line-2', '--line-3', '--line-4', '--line-5', '--line-6']
const linesMax = LINE_COLOURS.length

const CHARTS: ChartOptions[] = [
  {
    title: 'Throughput, tasks a second',
    format: rate,
    lines: pools => [
      ...pools
        .filter(pool => pool.state !== 'ended')
        .slice(0, linesMax)
        .map(({ name, number }, at) => ({
          label: name,
          colour: LINE_COLOURS[at]!,
          read: ({ perSecond }: Point) => perSecond[number] ?? 0,
          isFilled: at === 0,
        })),
      { label: 'failed', colour: '--failed', read: ({ failedPerSecond }) => failedPerSecond },
    ],
  },
  {
    title: 'Latency of tasks',
    format: taskTime,
    isLogarithmic: true,
    lines: () => [
      { label: 'p99', colour: '--line-2', read: ({ p99Ms }) => p99Ms },
      { label: 'median', colour: '--line-1', read: ({ p50Ms }) => p50Ms },
    ],
  },
  {
    title: 'Tasks that wait for a worker',
    format: shortCount,
    lines: () => [{ label: 'waiting', colour: '--line-1', read: ({ waiting }) => waiting, isFilled: true }],
  },
  {
    title: 'Memory and CPU',
    format: bytes,
    isBinary: true,
    lines: () => [
      { label: 'memory', colour: '--line-3', read: ({ memoryBytes }) => memoryBytes, isFilled: true },
      {
        label: 'CPU',
        colour: '--line-2',
        read: ({ processorPercent }) => processorPercent,
        scale: 'cpu',
      },
    ],
  },
]

const heightPx = 150
/** From 1 MiB to 1 TiB, each twice the one before. */
const BINARY_STEPS = Array.from({ length: 21 }, (_, at) => 2 ** (20 + at))
const gridStyle = { width: 1 }

/** All charts of the page, with one time axis. */
export class Charts {
  readonly #charts: Chart[]

  constructor(parent: HTMLElement, plot: typeof UPlot) {
    this.#charts = CHARTS.map(options => new Chart(parent, plot, options))
    new ResizeObserver(() => {
      for (const chart of this.#charts) chart.resize()
    }).observe(parent)
  }

  show(points: readonly Point[], pools: readonly PoolRow[]): void {
    for (const chart of this.#charts) chart.show(points, pools)
  }

  /** The colours have changed. */
  redraw(): void {
    for (const chart of this.#charts) chart.rebuild()
  }
}

class Chart {
  readonly #plotClass: typeof UPlot
  readonly #options: ChartOptions
  readonly #area: HTMLElement
  readonly #legend: HTMLElement
  #values: HTMLElement[] = []
  #plot: UPlot | undefined
  #lines: Line[] = []
  #points: readonly Point[] = []

  constructor(parent: HTMLElement, plot: typeof UPlot, options: ChartOptions) {
    this.#plotClass = plot
    this.#options = options
    this.#area = make('div', { class: 'chart-area', attributes: { role: 'img' } })
    this.#legend = make('p', { class: 'legend', attributes: { 'aria-hidden': 'true' } })
    parent.append(
      make('div', { class: 'panel chart' }, make('h3', {}, options.title), this.#legend, this.#area),
    )
  }

  show(points: readonly Point[], pools: readonly PoolRow[]): void {
    this.#points = points
    const lines = this.#options.lines(pools)
    const isSame =
      lines.length === this.#lines.length && lines.every(({ label }, at) => label === this.#lines[at]!.label)
    this.#lines = lines
    if (!isSame || !this.#plot) this.rebuild()
    else this.#plot.setData(this.#data())
    this.#describe(undefined)
  }

  resize(): void {
    this.#plot?.setSize({ width: this.#area.clientWidth, height: heightPx })
  }

  rebuild(): void {
    this.#plot?.destroy()
    if (this.#points.length === 0) return
    this.#values = this.#lines.map(() => make('b', {}))
    this.#legend.replaceChildren(
      ...this.#lines.map(({ label, colour }, at) => {
        const key = make('i', {})
        key.style.background = `var(${colour})`
        return make('span', {}, key, `${label} `, this.#values[at]!)
      }),
    )
    this.#plot = new this.#plotClass(this.#plotOptions(), this.#data(), this.#area)
    this.#describe(undefined)
  }

  #data(): UPlot.AlignedData {
    return [
      this.#points.map(({ atMs }) => atMs / 1000),
      ...this.#lines.map(({ read }) => this.#points.map(point => this.#drawable(read(point)))),
    ]
  }

  /** A logarithmic axis has no zero. */
  #drawable(value: number | null): number | null {
    return value !== null && this.#options.isLogarithmic ? Math.max(value, 0.0005) : value
  }

  #plotOptions(): UPlot.Options {
    const { format, isLogarithmic = false, isBinary = false } = this.#options
    const text = colour('--muted')
    const grid = { ...gridStyle, stroke: colour('--grid') }
    const font = '11px system-ui, sans-serif'
    const axis = { stroke: text, grid, ticks: { show: false }, font }
    const toTop = (_plot: UPlot, _min: number, max: number): [number, number] => [0, max > 0 ? max * 1.1 : 1]
    return {
      width: Math.max(120, this.#area.clientWidth),
      height: heightPx,
      padding: [6, 4, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: 'multiproc' },
        drag: { x: false, y: false },
        points: { size: 6 },
        y: false,
      },
      scales: {
        x: { time: true },
        y: isLogarithmic ? { distr: 3 } : { range: toTop },
        cpu: { range: toTop },
      },
      axes: [
        {
          ...axis,
          size: 27,
          gap: 8,
          space: 62,
          values: (_plot, ticks) => ticks.map(tick => clock(tick * 1000)),
        },
        {
          ...axis,
          ...(isLogarithmic ? { filter: onlyPowersOfTen, grid: { ...grid, filter: onlyPowersOfTen } } : {}),
          size: 58,
          space: 26,
          ...(isBinary ? { incrs: BINARY_STEPS } : {}),
          values: (_plot, ticks) =>
            ticks.map(tick => (tick === null ? '' : tick === 0 ? '0' : withoutZeros(format(tick)))),
        },
      ],
      series: [
        {},
        ...this.#lines.map(line => ({
          label: line.label,
          stroke: colour(line.colour),
          width: 1.75,
          points: { show: false },
          scale: line.scale ?? 'y',
          ...(line.isFilled ? { fill: `${colour(line.colour)}22` } : {}),
        })),
      ],
      hooks: { setCursor: [plot => this.#describe(plot.cursor.idx ?? undefined)] },
    }
  }

  /** The values at the pointer, or the last ones. */
  #describe(at: number | undefined): void {
    const point = this.#points[at ?? this.#points.length - 1]
    if (!point) return
    const { format, title } = this.#options
    const texts = this.#lines.map(({ read, scale }) => {
      const value = read(point)
      return value === null ? '–' : scale === 'cpu' ? percent(value) : format(value)
    })
    for (const [index, text] of texts.entries()) if (this.#values[index]) setText(this.#values[index], text)
    if (at !== undefined) return
    const now = this.#lines.map(({ label }, index) => `${label} ${texts[index]}`).join(', ')
    setAttribute(this.#area, 'aria-label', `${title}, a chart of the last minutes. Now: ${now}`)
  }
}

/** Of a logarithmic axis: the lines between them would be a grey wall. */
function onlyPowersOfTen(_plot: UPlot, ticks: number[]): (number | null)[] {
  return ticks.map(tick => {
    const exponent = Math.log10(tick)
    return Math.abs(exponent - Math.round(exponent)) < 1e-6 ? tick : null
  })
}

/** `1.00 ms` is `1 ms` beside an axis, where nothing changes from one moment to the next. */
function withoutZeros(text: string): string {
  return text.replace(/\.0+(?=\D|$)/, '')
}
