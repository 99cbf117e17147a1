/** Tables that are small and change seldom: the longest tasks, and what other parts of the library have to show. */
import type { InspectedTable, PoolRow } from '../live-messages.ts'
import { make } from './elements.ts'
import { taskTime } from './format.ts'

export class SmallTables {
  readonly #longest: HTMLElement
  readonly #others: HTMLElement
  #shown = ''

  constructor(longest: HTMLElement, others: HTMLElement) {
    this.#longest = longest
    this.#others = others
  }

  show(pools: readonly PoolRow[], tables: readonly InspectedTable[]): void {
    const tasks = pools
      .flatMap(pool => pool.longestTasks.map(task => ({ pool: pool.name, ...task })))
      .toSorted((a, b) => b.durationMs - a.durationMs)
      .slice(0, 10)
    // Nothing is touched while nothing changes.
    const text = JSON.stringify([tasks, tables])
    if (text === this.#shown) return
    this.#shown = text
    const rows = tasks.map(({ pool, name, index, count, durationMs, arguments: given }) => [
      taskTime(durationMs),
      name,
      index === null ? '' : count === 1 ? `#${index}` : `#${index}–${index + count - 1}`,
      given,
      pool,
    ])
    const columns = ['time', 'function', 'item', 'arguments', 'pool']
    this.#longest.replaceChildren(
      rows.length === 0
        ? make('p', { class: 'empty' }, 'No task has taken more than a millisecond.')
        : tableOf({ title: 'The tasks that took longest', columns, rows }, { isCaptionHidden: true }),
    )
    this.#others.replaceChildren(
      ...tables.map(table =>
        make(
          'section',
          { class: 'panel' },
          make('div', { class: 'panel-head' }, make('h2', {}, table.title)),
          tableOf(table, { isCaptionHidden: true }),
        ),
      ),
    )
  }
}

function tableOf(
  { title, columns, rows }: InspectedTable,
  { isCaptionHidden }: { isCaptionHidden: boolean },
): HTMLElement {
  const head = make(
    'thead',
    {},
    make('tr', {}, ...columns.map(name => make('th', { attributes: { scope: 'col' } }, name))),
  )
  const body = make(
    'tbody',
    {},
    ...rows.map(row => make('tr', {}, ...row.map(cell => make('td', { title: cell }, cell)))),
  )
  const caption = make('caption', isCaptionHidden ? { class: 'visually-hidden' } : {}, title)
  const attributes = { tabindex: '0', role: 'region', 'aria-label': title }
  return make('div', { class: 'scroll', attributes }, make('table', { class: 'small' }, caption, head, body))
}
