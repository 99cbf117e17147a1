/**
 * Time that passes only when everything that could happen at a moment has happened: timers and `performance.now()` of the
 * whole process follow it. Invariant: what happens at one moment happens in the order in which it was planned, so that a
 * seed tells the whole story.
 */

interface Planned {
  atMs: number
  /** Breaks ties. */
  order: number
  act: (() => void) | undefined
}

/** What `setTimeout` gives here. */
class VirtualTimer {
  readonly #time: VirtualTime
  readonly #delayMs: number
  readonly #act: () => void
  readonly #isRepeated: boolean
  #planned: Planned
  /** Who began it, when that is asked for. */
  readonly stack = process.env['SIMULATION_STACKS'] === '1' ? new Error('begun').stack : undefined

  constructor(
    time: VirtualTime,
    { act, delayMs, isRepeated }: { act: () => void; delayMs: number; isRepeated: boolean },
  ) {
    this.#time = time
    this.#delayMs = Math.max(1, delayMs)
    this.#act = act
    this.#isRepeated = isRepeated
    this.#planned = this.#plan()
  }

  #plan(): Planned {
    this.#time.timers.add(this)
    return this.#time.after(this.#delayMs, () => {
      if (this.#isRepeated) this.#planned = this.#plan()
      else this.#time.timers.delete(this)
      this.#act()
    })
  }

  stop(): void {
    this.#time.timers.delete(this)
    this.#planned.act = undefined
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }
}

const GLOBALS = ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval'] as const

export class VirtualTime implements Disposable {
  nowMs = 0
  /** Those that have not ended. */
  readonly timers = new Set<VirtualTimer>()
  /** How much has happened. */
  events = 0
  readonly #heap: Planned[] = []
  readonly #real = Object.fromEntries(GLOBALS.map(name => [name, globalThis[name]]))
  readonly #clear = clearTimeout
  readonly #turn = setImmediate
  #order = 0

  /** From now on, until it is disposed of. */
  constructor() {
    const begin =
      (isRepeated: boolean) =>
      (act: (...args: unknown[]) => void, delayMs = 0, ...args: unknown[]): VirtualTimer =>
        new VirtualTimer(this, { act: () => act(...args), delayMs, isRepeated })
    const end = (timer: unknown): void => {
      if (timer instanceof VirtualTimer) timer.stop()
      else this.#clear(timer as NodeJS.Timeout)
    }
    Object.assign(globalThis, {
      setTimeout: begin(false),
      setInterval: begin(true),
      clearTimeout: end,
      clearInterval: end,
    })
    Object.defineProperty(performance, 'now', { configurable: true, value: () => this.nowMs })
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, this.#real)
    delete (performance as { now?: unknown }).now
  }

  after(delayMs: number, act: () => void): Planned {
    return this.at(this.nowMs + delayMs, act)
  }

  at(atMs: number, act: () => void): Planned {
    const planned = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, act }
    this.#push(planned)
    return planned
  }

  /** Lets time pass until `isOver()`, or until a moment. Returns whether it is over. */
  async run(isOver: () => boolean, untilMs: number): Promise<boolean> {
    await this.#settled()
    while (!isOver()) {
      const next = this.#heap[0]
      if (!next || next.atMs > untilMs) return false
      this.#pop()
      const { act } = next
      if (!act) continue
      this.nowMs = next.atMs
      this.events++
      act()
      await this.#settled()
    }
    return true
  }

  /** Whatever waits for nothing but promises has gone on. */
  #settled(): Promise<void> {
    return new Promise(resolve => this.#turn(resolve))
  }

  #isBefore(a: Planned, b: Planned): boolean {
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
  }

  #push(planned: Planned): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(planned)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#isBefore(planned, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = planned
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.#isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!this.#isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}
