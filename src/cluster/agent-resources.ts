/**
 * What an agent has to give to tasks: each amount is given to one task at a time, and who asks for more than there is waits
 * until others have given theirs back. Invariant: what was given out is never more than there is; who waits is served in
 * order.
 */
import {
  type Offer,
  type Requirements,
  type ResourceShare,
  isNumbered,
  numberedMax,
  slotsOf,
} from '../pool/requirements.ts'

/** What one task has. */
export interface TakenResources {
  readonly shares: Record<string, ResourceShare>
  /** Once. */
  release(): void
}

/** Who waits. */
export interface ResourceWait {
  cancel(): void
}

/** Parts of a unit are counted in thousandths, so that three thirds are one. */
const thousandths = 1000

/** One resource: units that have numbers, or an amount. */
class Stock {
  /** What is left of each unit, in thousandths. */
  readonly #units: number[] | undefined
  #left: number

  constructor(total: number) {
    this.#units = isNumbered(total) ? Array.from({ length: total }, () => thousandths) : undefined
    this.#left = total
  }

  /** Units for so much, or undefined. Nothing is taken. */
  find(amount: number): number[] | undefined {
    const units = this.#units
    if (!units) return amount <= this.#left ? [] : undefined
    if (amount < 1) {
      const part = partOf(amount)
      // The fullest that will do, so that whole ones stay whole.
      let best: number | undefined
      for (const [index, left] of units.entries())
        if (left >= part && (best === undefined || left < units[best]!)) best = index
      return best === undefined ? undefined : [best]
    }
    const whole = [...units.keys()].filter(index => units[index] === thousandths)
    return whole.length >= amount ? whole.slice(0, amount) : undefined
  }

  change(amount: number, indexes: readonly number[], sign: 1 | -1): void {
    this.#left += sign * amount
    for (const index of indexes) this.#units![index]! += sign * (amount < 1 ? partOf(amount) : thousandths)
  }

  /** How many more could take so much. */
  room(amount: number): number {
    if (!this.#units) return Math.floor(this.#left / amount)
    if (amount >= 1) return Math.floor(this.#units.filter(left => left === thousandths).length / amount)
    const part = partOf(amount)
    return this.#units.reduce((sum, left) => sum + Math.floor(left / part), 0)
  }
}

function partOf(amount: number): number {
  return Math.floor(amount * thousandths + 1e-6)
}

export class AgentResources {
  readonly offer: Offer
  readonly #stocks = new Map<string, Stock>()
  readonly #waiting: { requires: Requirements; onTaken: (taken: TakenResources) => void }[] = []

  constructor(offer: Offer) {
    this.offer = offer
    for (const [name, total] of Object.entries(offer.resources)) this.#stocks.set(name, new Stock(total))
  }

  /** Whether the agent says of itself that it has anything at all. */
  get isPlain(): boolean {
    return Object.keys(this.offer.labels).length + Object.keys(this.offer.resources).length === 0
  }

  canDo(requires: Requirements): boolean {
    return slotsOf(this.offer, requires) > 0
  }

  /** How many more tasks with these requirements could begin now. */
  room(requires: Requirements): number {
    if (!this.canDo(requires)) return 0
    const needed = Object.entries(requires.resources)
    // Those who wait come first.
    if (needed.length > 0 && this.#waiting.length > 0) return 0
    return Math.min(...needed.map(([name, amount]) => this.#stocks.get(name)!.room(amount)), numberedMax)
  }

  /** Takes what is required, now or when it is there. */
  take(requires: Requirements, onTaken: (taken: TakenResources) => void): ResourceWait {
    const wait = { requires, onTaken }
    this.#waiting.push(wait)
    this.#serve()
    return {
      cancel: () => {
        const at = this.#waiting.indexOf(wait)
        if (at < 0) return
        this.#waiting.splice(at, 1)
        this.#serve()
      },
    }
  }

  #serve(): void {
    for (let first = this.#waiting[0]; first; first = this.#waiting[0]) {
      const taken = this.#takeNow(first.requires)
      if (!taken) return
      this.#waiting.shift()
      first.onTaken(taken)
    }
  }

  #takeNow({ resources }: Requirements): TakenResources | undefined {
    const found: [stock: Stock, name: string, amount: number, indexes: number[]][] = []
    for (const [name, amount] of Object.entries(resources)) {
      const stock = this.#stocks.get(name)
      const indexes = stock?.find(amount)
      if (!stock || !indexes) return undefined
      found.push([stock, name, amount, indexes])
    }
    for (const [stock, , amount, indexes] of found) stock.change(amount, indexes, -1)
    let isReleased = false
    return {
      shares: Object.fromEntries(found.map(([, name, amount, indexes]) => [name, { amount, indexes }])),
      release: () => {
        if (isReleased) return
        isReleased = true
        for (const [stock, , amount, indexes] of found) stock.change(amount, indexes, 1)
        this.#serve()
      },
    }
  }
}
