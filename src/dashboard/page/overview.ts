/** The row of numbers at the top: what happens now. */
import type { Point, UpdateMessage } from '../live-messages.ts'
import { make, setAttribute, setText } from './elements.ts'
import { bytes, count, percent, rate, shortCount, taskTime } from './format.ts'

const TILES = [
  'Tasks a second',
  'Workers busy',
  'Waiting',
  'Done',
  'Failed',
  'Latency p99',
  'Memory',
  'CPU',
] as const
type Title = (typeof TILES)[number]

export class Overview {
  readonly #values = new Map<Title, { value: HTMLElement; note: HTMLElement; root: HTMLElement }>()

  constructor(parent: HTMLElement) {
    for (const title of TILES) {
      const value = make('span', { class: 'value' }, '–')
      const note = make('span', { class: 'note' })
      const root = make('div', { class: 'tile' }, make('dt', {}, title), make('dd', {}, value, note))
      this.#values.set(title, { value, note, root })
      parent.append(root)
    }
  }

  show({ done, failed, pools }: UpdateMessage, point: Point | undefined): void {
    this.#set('Done', shortCount(done), `in ${count(pools.length)} ${pools.length === 1 ? 'pool' : 'pools'}`)
    const failedPercent = done > 0 ? (failed / done) * 100 : 0
    const part = failedPercent < 0.1 ? 'less than 0.1%' : `${failedPercent.toFixed(1)}% of all`
    this.#set('Failed', shortCount(failed), failed > 0 ? part : 'none so far')
    setAttribute(this.#values.get('Failed')!.root, 'data-alarm', String(failed > 0))
    if (!point) return
    const tasks = Object.values(point.perSecond).reduce((sum, value) => sum + value, 0)
    this.#set(
      'Tasks a second',
      rate(tasks),
      point.failedPerSecond > 0 ? `${rate(point.failedPerSecond)} of them fail` : '',
    )
    this.#set('Workers busy', count(point.busyWorkers), `of ${count(point.workers)}`)
    this.#set('Waiting', shortCount(point.waiting), point.waiting === 1 ? 'task' : 'tasks')
    const { p50Ms, p99Ms, processorPercent } = point
    this.#set(
      'Latency p99',
      p99Ms === null ? '–' : taskTime(p99Ms),
      p50Ms === null ? 'nothing ended' : `median ${taskTime(p50Ms)}`,
    )
    this.#set('Memory', bytes(point.memoryBytes), 'program and workers')
    this.#set(
      'CPU',
      processorPercent === null ? '–' : percent(processorPercent),
      `event loop ${percent(point.loopPercent)}`,
    )
  }

  #set(title: Title, value: string, note: string): void {
    const tile = this.#values.get(title)!
    setText(tile.value, value)
    setText(tile.note, note)
  }
}
