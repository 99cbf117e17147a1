/** The failures that came last, the newest first, each with its stack behind it. */
import type { TaskFailure } from '../live-messages.ts'
import { make, setText } from './elements.ts'
import { clock, count } from './format.ts'

const shownMax = 12

export class FailuresList {
  readonly #list: HTMLElement
  readonly #more: HTMLButtonElement
  readonly #empty: HTMLElement
  readonly #count: HTMLElement
  #failures: TaskFailure[] = []
  #isAllShown = false
  readonly #made = new Map<number, HTMLElement>()

  constructor(parent: HTMLElement, count: HTMLElement) {
    this.#list = make('ol', { class: 'failures' })
    this.#more = make('button', { class: 'more', attributes: { type: 'button' } })
    this.#empty = make('p', { class: 'empty' }, 'No task has failed.')
    this.#count = count
    this.#more.addEventListener('click', () => {
      this.#isAllShown = !this.#isAllShown
      this.#show()
    })
    parent.append(this.#empty, this.#list, this.#more)
  }

  show(failures: TaskFailure[], countOfAll: number): void {
    const isSame = failures.at(-1)?.number === this.#failures.at(-1)?.number
    this.#failures = failures.slice()
    setText(
      this.#count,
      countOfAll === 0
        ? ''
        : countOfAll > failures.length
          ? `${count(countOfAll)} in all, ${failures.length} kept`
          : `${count(countOfAll)} in all`,
    )
    if (!isSame || this.#made.size === 0 || failures.length === 0) this.#show()
  }

  #show(): void {
    const newest = this.#failures.toReversed()
    const shown = this.#isAllShown ? newest : newest.slice(0, shownMax)
    // One that somebody reads stays, even if others have come since.
    const open = [...this.#made].filter(([, item]) => item.querySelector('details')?.open)
    const numbers = new Set(shown.map(({ number }) => number))
    for (const [number, item] of this.#made) {
      if (numbers.has(number) || (open.some(([other]) => other === number) && newest.length > 0)) continue
      item.remove()
      this.#made.delete(number)
    }
    const before = this.#list.firstElementChild
    for (const failure of shown) {
      if (this.#made.has(failure.number)) continue
      const item = makeFailure(failure)
      this.#made.set(failure.number, item)
      const next = [...this.#list.children].find(
        child => Number((child as HTMLElement).dataset['number']) < failure.number,
      )
      this.#list.insertBefore(item, next ?? (this.#list.childElementCount > 0 ? null : before))
    }
    this.#empty.hidden = newest.length > 0
    this.#more.hidden = newest.length <= shownMax
    setText(this.#more, this.#isAllShown ? 'Show fewer' : `Show all ${newest.length}`)
  }
}

function makeFailure(failure: TaskFailure): HTMLElement {
  const { functionName, index, errorName, message, stack, atMs, pool, workerName, pid, attempt, isRetried } =
    failure
  const task = index === undefined ? functionName : `${functionName} #${index}`
  const place = [
    pool,
    ...(workerName === undefined ? [] : [workerName]),
    ...(pid === undefined ? [] : [`pid ${pid}`]),
    ...(attempt > 1 ? [`attempt ${attempt}`] : []),
    ...(isRetried ? ['runs again'] : []),
  ]
  const summary = make(
    'summary',
    {},
    make('span', { class: 'when' }, clock(atMs)),
    make('code', {}, task),
    make(
      'span',
      { class: 'what' },
      make('b', {}, errorName),
      message === '' ? '' : `: ${message.split('\n')[0]!}`,
    ),
  )
  const details = make(
    'details',
    {},
    summary,
    make('p', { class: 'facts' }, place.join(' · ')),
    make('pre', { attributes: { tabindex: '0' } }, stack === '' ? message : stack),
  )
  return make('li', { attributes: { 'data-number': String(failure.number) } }, details)
}
