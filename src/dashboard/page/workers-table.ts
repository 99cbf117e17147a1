/** A table for each pool with a row for each worker. Rows stay where they are while their worker lives. */
import type { PoolRow, WorkerRow } from '../live-messages.ts'
import { KeyedList, make, setAttribute, setText } from './elements.ts'
import { bytes, count, duration, percent, rate, shortCount } from './format.ts'

const COLUMNS: { title: string; class?: string }[] = [
  { title: 'worker' },
  { title: 'state' },
  { title: 'runs', class: 'runs' },
  { title: 'busy', class: 'busy' },
  { title: 'tasks/s', class: 'number' },
  { title: 'done', class: 'number minor' },
  { title: 'failed', class: 'number' },
  { title: 'CPU', class: 'number minor' },
  { title: 'memory', class: 'number' },
]

const WORDS: Record<WorkerRow['state'], string> = {
  starting: 'starting',
  idle: 'waiting',
  working: 'working',
  stopping: 'ending',
  ended: 'ended',
}

interface MadeRow {
  root: HTMLElement
  state: HTMLElement
  runs: HTMLElement
  busyBar: HTMLElement
  busy: HTMLElement
  numbers: HTMLElement[]
}

interface MadePool {
  root: HTMLElement
  title: HTMLElement
  method: HTMLElement
  facts: HTMLElement
  rows: KeyedList<WorkerRow, MadeRow>
  scroll: HTMLElement
}

export class WorkersTable {
  readonly #pools: KeyedList<PoolRow, MadePool>
  readonly #empty: HTMLElement

  constructor(parent: HTMLElement) {
    this.#empty = make('p', { class: 'empty' }, 'This program has no pool yet.')
    const list = make('div', { class: 'pools' })
    parent.append(this.#empty, list)
    this.#pools = new KeyedList(list, makePool, updatePool)
  }

  show(pools: readonly PoolRow[]): void {
    this.#empty.hidden = pools.length > 0
    this.#pools.show(pools, ({ number }) => String(number))
  }
}

function makePool({ name }: PoolRow): MadePool {
  const title = make('h3', {}, name)
  const method = make('span', { class: 'tag' })
  const facts = make('p', { class: 'facts' })
  const body = make('tbody')
  const head = make(
    'tr',
    {},
    ...COLUMNS.map(column =>
      make('th', { class: column.class ?? '', attributes: { scope: 'col' } }, column.title),
    ),
  )
  const scroll = make(
    'div',
    { class: 'scroll', attributes: { tabindex: '0', role: 'region', 'aria-label': `Workers of ${name}` } },
    make(
      'table',
      { class: 'workers' },
      make('caption', { class: 'visually-hidden' }, `Workers of ${name}`),
      make('thead', {}, head),
      body,
    ),
  )
  const root = make(
    'article',
    { class: 'pool' },
    make('div', { class: 'pool-head' }, title, method, facts),
    scroll,
  )
  return { root, title, method, facts, rows: new KeyedList(body, makeRow, updateRow), scroll }
}

function updatePool({ root, method, facts, rows, scroll }: MadePool, pool: PoolRow): void {
  setAttribute(root, 'data-state', pool.state)
  const { busyElsewhere, processes } = pool
  const kind =
    busyElsewhere === null
      ? pool.method === 'spawn'
        ? 'processes'
        : 'threads'
      : `${busyElsewhere} of ${processes} processes of a cluster busy`
  setText(method, pool.state === 'running' ? kind : `${kind}, ${pool.state}`)
  const texts = [
    ...(pool.state === 'ended'
      ? []
      : [`${rate(pool.perSecond)} tasks/s`, `${shortCount(pool.waiting)} waiting`]),
    `${shortCount(pool.done)} done`,
    ...(pool.failed > 0 ? [`${count(pool.failed)} failed`] : []),
    ...(pool.workersEnded > 0 && pool.state !== 'ended'
      ? [`${count(pool.workersEnded)} workers replaced or ended`]
      : []),
    `${bytes(pool.bytesSent)} sent, ${bytes(pool.bytesReceived)} received`,
  ]
  setText(facts, texts.join(' · '))
  scroll.hidden = pool.workers.length === 0
  rows.show(pool.workers, ({ name }) => name)
}

function makeRow({ name, pid, threadId, isSpare }: WorkerRow): MadeRow {
  const place = threadId === null ? (pid === null ? '' : `pid ${pid}`) : `thread ${threadId}`
  const state = make('span', { class: 'state' })
  const runs = make('td', { class: 'runs' })
  const busyBar = make('i', {})
  const busy = make('b', {})
  const numbers = COLUMNS.slice(4).map(column => make('td', { class: column.class ?? '' }))
  const root = make(
    'tr',
    {},
    make(
      'th',
      { attributes: { scope: 'row' } },
      name,
      make('span', { class: 'place' }, isSpare ? `${place}, spare` : place),
    ),
    make('td', {}, state),
    runs,
    make(
      'td',
      { class: 'busy' },
      make('span', { class: 'bar', attributes: { 'aria-hidden': 'true' } }, busyBar),
      busy,
    ),
    ...numbers,
  )
  return { root, state, runs, busyBar, busy, numbers }
}

function updateRow({ state, runs, busyBar, busy, numbers }: MadeRow, worker: WorkerRow): void {
  setText(state, WORDS[worker.state])
  setAttribute(state, 'data-state', worker.state)
  const { functionName, runningMs, busyPercent, processorPercent, memoryBytes } = worker
  const running =
    functionName === null ? '' : runningMs >= 1000 ? `${functionName}, ${duration(runningMs)}` : functionName
  setText(runs, running)
  busyBar.style.width = `${Math.round(busyPercent)}%`
  setText(busy, percent(busyPercent))
  const texts = [
    rate(worker.perSecond),
    shortCount(worker.done),
    count(worker.failed),
    processorPercent === null ? '–' : percent(processorPercent),
    memoryBytes === null ? '–' : bytes(memoryBytes),
  ]
  for (const [at, text] of texts.entries()) setText(numbers[at]!, text)
  setAttribute(numbers[2]!, 'data-alarm', String(worker.failed > 0))
}
