import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { types } from 'node:util'
import { decode, decodeThrown, encode, encodeThrown, prepare } from '#src/serialize/codec.js'
import { describeClass } from '#src/serialize/function/class-description.js'

class Point {
  x: number
  y: number
  constructor(x: number, y: number) {
    this.x = x
    this.y = y
  }
  get length(): number {
    return Math.hypot(this.x, this.y)
  }
}

class Stack extends Array<number> {
  label = 'none'
  top(): number | undefined {
    return this.at(-1)
  }
}

class Shouting extends Map<string, number> {
  volume = 11
  shout(): string {
    return [...this.keys()].join('!').toUpperCase()
  }
}

class Caught extends RangeError {
  readonly place: string
  constructor(place: string) {
    super(`caught at ${place}`)
    this.place = place
  }
  where(): string {
    return this.place
  }
}

class Guarded {
  accepted: number
  constructor() {
    this.accepted = 0
  }
  set late(_value: number) {
    throw new Error('the setter must not run')
  }
}

async function travel<T>(value: T): Promise<T> {
  const bytes = encode(value)
  await prepare(bytes)
  return decode(bytes) as T
}

/** The function serialiser is a part of its own; without it there are no classes to send. */
function canDescribeClasses(): boolean {
  try {
    describeClass(Point)
    return true
  } catch {
    return false
  }
}

describe('instances', { skip: !canDescribeClasses() && 'this build has no function serialiser' }, () => {
  test('an instance keeps its class and its fields', async () => {
    const result = await travel(new Point(3, 4))
    assert.equal(result.length, 5)
    assert.deepEqual(Object.entries(result), Object.entries({ x: 3, y: 4 }))
  })

  test('instances of one class in one message and in two have one class', async () => {
    const [first, second] = await travel([new Point(1, 2), { deep: new Point(3, 4) }] as const)
    const third = await travel(new Point(5, 6))
    assert.equal(first.constructor, second.deep.constructor)
    assert.equal(first.constructor, third.constructor)
  })

  test('many instances are packed by column, also those that refer to each other', async () => {
    const points = Array.from({ length: 1000 }, (_, i) => new Point(i, -i))
    const result = await travel(points)
    result.forEach((point, i) =>
      assert.deepEqual([point.x, point.y, point.length], [i, -i, Math.hypot(i, i)]),
    )
    const linked = points.map((point, i) => Object.assign(new Point(i, i), { next: point }))
    const again = await travel({ linked, points })
    again.linked.forEach((point, i) => assert.equal(point.next, again.points[i]))
  })

  test('a list of 5,000 linked instances needs no deep stack', async () => {
    let head: Point & { next?: unknown } = new Point(0, 0)
    for (let i = 1; i < 5000; i++) head = Object.assign(new Point(i, i), { next: head })
    let count = 0
    for (let at: unknown = await travel(head); at !== undefined; at = (at as { next?: unknown }).next) count++
    assert.equal(count, 5000)
  })

  test('an instance of a subclass of a built-in keeps contents, class and fields', async () => {
    const stack = new Stack()
    stack.push(1, 2, 3)
    stack.label = 'mine'
    const result = await travel(stack)
    assert.ok(Array.isArray(result))
    assert.deepEqual([result.top(), result.label, result.length], [3, 'mine', 3])
    const shouting = await travel(
      new Shouting([
        ['a', 1],
        ['b', 2],
      ]),
    )
    assert.ok(types.isMap(shouting))
    assert.deepEqual([shouting.shout(), shouting.volume, shouting.get('b')], ['A!B', 11, 2])
  })

  test('no setter of a class runs while its instances are rebuilt', async () => {
    const rows = Array.from({ length: 200 }, (_, i) =>
      Object.defineProperty(new Guarded(), 'late', {
        value: i,
        writable: true,
        enumerable: true,
        configurable: true,
      }),
    )
    const result = (await travel(rows)) as unknown as { late: number }[]
    result.forEach((row, i) => assert.equal(row.late, i))
  })

  test('a thrown error keeps its class without running its constructor', async () => {
    const bytes = encodeThrown(new Caught('sea'))
    await prepare(bytes)
    const result = decodeThrown(bytes, { pid: 1, workerName: 'w' }) as Caught
    assert.ok(types.isNativeError(result) && result instanceof RangeError)
    assert.deepEqual([result.where(), result.message], ['sea', 'caught at sea'])
  })

  test('functions, accessors, frozen objects and symbols keep their identity with the data around them', async () => {
    const shared = { count: 1 }
    const result = await travel({
      shared,
      read: () => shared.count,
      frozen: Object.freeze([1, 2]),
      get twice() {
        return this.shared.count * 2
      },
    })
    result.shared.count = 21
    assert.equal(result.read(), 21)
    assert.equal(result.twice, 42)
    assert.ok(Object.isFrozen(result.frozen))
  })
})
