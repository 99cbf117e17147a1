/** Classes that tests register, exported so that they are found by reference as well. */

export class Counter {
  count: number
  readonly _secret = 'hidden'

  constructor(start = 0) {
    this.count = start
  }

  increment(by = 1): number {
    return (this.count += by)
  }

  async later(): Promise<number> {
    await Promise.resolve()
    return this.count
  }

  fail(): never {
    throw new RangeError('the counter failed')
  }

  child(): Counter {
    return new Counter(this.count + 100)
  }

  unsendable(): unknown {
    return new WeakRef(this)
  }

  _hidden(): string {
    return this._secret
  }
}

export function makeCounter(start: number): Counter {
  return new Counter(start)
}
