/** Classes and symbols of this file, which workers only know as copies: they have to be the same ones everywhere. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pool } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

class Point {
  x: number
  constructor(x: number) {
    this.x = x
  }
}
class Point3 extends Point {}

/** Depends on what may change: every call has a copy of its own. */
const settings = { rate: 1 }
class Priced {
  static made = 0
  cents: number
  constructor(cents: number) {
    this.cents = cents
    Priced.made++
  }
  total(): number {
    return this.cents * settings.rate
  }
}

class Base {
  toString(): string {
    return 'base'
  }
}
class Money extends Base {
  #cents: number
  constructor(cents: number) {
    super()
    this.#cents = cents
  }
  get cents(): number {
    return this.#cents
  }
  static centsOf(money: Money): number {
    return money.#cents
  }
  plus(other: Money): Money {
    return new Money(this.#cents + other.#cents)
  }
  override toString(): string {
    return `${this.#cents} cents of ${super.toString()}`
  }
}
class Salary extends Money {
  month: string
  constructor(cents: number, month: string) {
    super(cents)
    this.month = month
  }
  override toString(): string {
    return `${this.month}: ${super.toString()}`
  }
}

const nothing = Symbol('nothing')

forEachStartMethod(context => {
  test('items are instances of the class that the function knows', async () => {
    await using pool = new Pool({ processes: 2, context })
    const isPoint = (value: unknown): boolean[] => [
      value instanceof Point,
      value instanceof Point3,
      (value as object).constructor === Point,
    ]
    const expected = [
      [true, false, true],
      [true, true, false],
    ]
    assert.deepEqual(await pool.map(isPoint, [new Point(1), new Point3(2)]), expected)
    assert.deepEqual(await pool.map(isPoint, [new Point(1), new Point3(2)], { chunkSize: 1 }), expected)
    const isError = (value: unknown): boolean => value instanceof Refusal
    class Refusal extends Error {}
    assert.deepEqual(await pool.map(isError, [new Refusal('no'), new Error('no')]), [true, false])
  })

  test('a class that comes with a function and its arguments is one class', async () => {
    await using pool = new Pool({ processes: 1, context })
    assert.deepEqual(
      await pool.apply(
        (type: typeof Point, point: Point) => [
          type === Point,
          point instanceof type,
          new type(1) instanceof Point,
        ],
        [Point, new Point(1)],
      ),
      [true, true, true],
    )
  })

  test('what one call keeps is of the class that the next call knows', async () => {
    const keep = (point: Point): void => void Object.assign(globalThis, { kept: point })
    await using pool = new Pool({ processes: 1, context, initializer: keep, initArgs: [new Point(1)] })
    const kept = (): boolean => (globalThis as { kept?: unknown }).kept instanceof Point
    assert.equal(await pool.apply(kept), true)
    await pool.apply(keep, [new Point3(1)])
    assert.equal(await pool.apply(kept), true)
  })

  test('a class that depends on what may change has the values of the call, and its items are of that class', async () => {
    await using pool = new Pool({ processes: 1, context })
    const first = (priced: Priced): unknown[] => [priced instanceof Priced, priced.total(), Priced.made]
    const second = (priced: Priced): unknown[] => [priced instanceof Priced, priced.total(), 'second']
    const item = new Priced(5)
    Priced.made = 7
    settings.rate = 2
    const results = [pool.apply(first, [item]), pool.apply(second, [item])]
    settings.rate = 3
    results.push(pool.apply(first, [item]), pool.apply(second, [item]))
    settings.rate = 1
    assert.deepEqual(await Promise.all(results), [
      [true, 10, 7],
      [true, 10, 'second'],
      [true, 15, 7],
      [true, 15, 'second'],
    ])
  })

  test('functions of a class get at the private fields of instances that come as items', async () => {
    await using pool = new Pool({ processes: 1, context })
    const items = [new Money(5), new Salary(7, 'May')]
    assert.deepEqual(await pool.map(money => Money.centsOf(money), items), [5, 7])
    assert.equal(await pool.apply((a: Money, b: Money) => a.plus(b).cents, [items[0]!, items[1]!]), 12)
  })

  test('private fields of a superclass come home, are read by inherited methods, and travel again', async () => {
    await using pool = new Pool({ processes: 1, context })
    const [made] = await pool.map(cents => new Salary(cents, 'June'), [8])
    const [returned] = await pool.map((salary: Salary) => salary, [new Salary(9, 'July')])
    for (const [salary, cents, month] of [
      [made!, 8, 'June'],
      [returned!, 9, 'July'],
    ] as const) {
      assert.ok(salary instanceof Salary && salary instanceof Money)
      assert.equal(salary.constructor, Salary)
      assert.equal(salary.cents, cents)
      assert.equal(String(salary), `${month}: ${cents} cents of base`)
      assert.deepEqual(await pool.map((again: Salary) => [again instanceof Salary, again.cents], [salary]), [
        [true, cents],
      ])
      assert.equal(await pool.apply(() => String(salary)), String(salary))
    }
    assert.ok(!(made!.plus(returned!) instanceof Salary))
    assert.equal(made!.plus(returned!).cents, 17)
    const plain = await pool.apply((money: Money) => money, [new Money(1)])
    assert.ok(!(plain instanceof Salary))
    assert.equal(String(plain), '1 cents of base')
  })

  test('a symbol stays itself: captured, as an item, as a key, and when it comes home', async () => {
    await using pool = new Pool({ processes: 1, context })
    assert.deepEqual(await pool.map((value: unknown) => value === nothing, [nothing, Symbol('nothing')]), [
      true,
      false,
    ])
    assert.equal(await pool.apply((object: { [nothing]: number }) => object[nothing], [{ [nothing]: 5 }]), 5)
    assert.equal(await pool.apply(() => nothing), nothing)
  })
})
