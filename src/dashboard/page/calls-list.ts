/** The calls of several items that run, each with how far it is and how long the rest takes. */
import type { CallSnapshot, PoolRow } from '../live-messages.ts'
import { KeyedList, make, setText } from './elements.ts'
import { count, duration, percent, rate } from './format.ts'

interface Shown {
  pool: PoolRow
  call: CallSnapshot
}

interface Made {
  root: HTMLElement
  bar: HTMLProgressElement
  part: HTMLElement
  facts: HTMLElement
}

export class CallsList {
  readonly #list: KeyedList<Shown, Made>
  readonly #more: HTMLElement

  constructor(parent: HTMLElement) {
    const list = make('ul', { class: 'calls' })
    this.#more = make('p', { class: 'empty' })
    parent.append(list, this.#more)
    this.#list = new KeyedList(list, makeCall, updateCall)
  }

  show(pools: readonly PoolRow[]): void {
    const calls = pools.flatMap(pool => pool.calls.map(call => ({ pool, call })))
    this.#list.show(calls, ({ pool, call }) => `${pool.number} ${call.number}`)
    const leftOut = pools.reduce((sum, pool) => sum + pool.callsLeftOut, 0)
    setText(
      this.#more,
      leftOut > 0
        ? `and ${count(leftOut)} more`
        : calls.length === 0
          ? 'No call of several items runs now.'
          : '',
    )
  }
}

function makeCall({ pool, call }: Shown): Made {
  const label = `${call.functionName} in ${pool.name}`
  const bar = make('progress', { attributes: { max: '1', 'aria-label': `Progress of ${label}` } })
  const part = make('span', { class: 'part' })
  const facts = make('p', { class: 'facts' })
  const title = make(
    'p',
    { class: 'title' },
    make('code', {}, call.functionName),
    make('span', {}, pool.name),
    part,
  )
  return { root: make('li', {}, title, bar, facts), bar, part, facts }
}

function updateCall({ bar, part, facts }: Made, { call }: Shown): void {
  const { done, total, failed, retried, perSecond, remainingMs, elapsedMs, busyWorkers, workers } = call
  if (total === undefined || total === 0) bar.removeAttribute('value')
  else bar.value = done / total
  setText(part, total === undefined || total === 0 ? '' : percent((done / total) * 100))
  const texts = [
    total === undefined ? `${count(done)} done` : `${count(done)} of ${count(total)}`,
    `${rate(perSecond)}/s`,
    remainingMs === undefined ? `${duration(elapsedMs)} so far` : `${duration(remainingMs)} left`,
    `${busyWorkers} of ${workers} workers`,
  ]
  if (failed > 0) texts.push(`${count(failed)} failed`)
  if (retried > 0) texts.push(`${count(retried)} retried`)
  setText(facts, texts.join(' · '))
}
