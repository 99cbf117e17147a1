import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode, registerReducer } from '#src/serialize/codec.js'
import { roundTrip, withHoles } from './round-trip.js'

interface Row {
  id: number
  name: string
  at: { x: number }
  next?: Row
}

const rows = (count = 1000): Row[] =>
  Array.from({ length: count }, (_, id) => ({ id, name: `row ${id}`, at: { x: id / 3 } }))

test('a long array beside a function takes about as many bytes as alone', () => {
  const list = rows(10_000)
  const alone = encode(list).length
  const beside = encode({ target: () => 1, args: [list] }).length
  assert.ok(beside < alone + 2000, `${beside} bytes, and ${alone} alone`)
})

test('a long array beside a function arrives as it was', () => {
  const list = [
    ...rows(),
    new Map([[1, new Set(['a'])]]),
    new Date(5),
    [1, [2, [3]]],
    -0,
    undefined,
    7n,
    null,
  ]
  const result = roundTrip({ target: (x: number) => x + 1, args: [list] })
  assert.deepStrictEqual(result.args, [list])
  assert.equal(result.target(1), 2)
})

test('a long array that is met twice is one array there', () => {
  const list = rows()
  const result = roundTrip({ target: () => list.length, args: [list, list] })
  assert.equal(result.args[0], result.args[1])
  assert.equal(result.target(), 1000)
})

test('a row that the function captures is the row in the array there', () => {
  const list = rows()
  const row = list[500]!
  const result = roundTrip({ target: () => row, args: [list] })
  assert.equal(result.target(), result.args[0]![500])
})

test('a row that stands in two long arrays is one row there', () => {
  const first = rows()
  const second = rows()
  second[3] = first[7]!
  const result = roundTrip({ target: () => 1, args: [first, second] })
  assert.equal(result.args[1]![3], result.args[0]![7])
})

test('a long array inside another is one array there, also when it is met first', () => {
  const inner = rows()
  const outer = [...rows(), inner]
  for (const args of [
    [inner, outer],
    [outer, inner],
  ]) {
    const result = roundTrip({ target: () => 1, args, inner, outer })
    assert.equal(result.outer.at(-1), result.inner)
    assert.equal(result.args[args.indexOf(inner)], result.inner)
  }
})

test('rows that refer to each other and to their list do so there', () => {
  const list: (Row & { list?: unknown })[] = rows()
  for (const [index, row] of list.entries()) {
    row.next = list[(index + 1) % list.length]!
    row.list = list
  }
  const result = roundTrip({ target: () => 1, args: [list] })
  assert.equal(result.args[0]!.at(-1)!.next, result.args[0]![0])
  assert.equal(result.args[0]![9]!.list, result.args[0])
})

test('rows that refer to the arguments around them do so there', () => {
  const list: (Row & { owner?: unknown })[] = rows()
  const message = { target: () => 1, args: [list] }
  list[5]!.owner = message
  const result = roundTrip(message)
  assert.equal(result.args[0]![5]!.owner, result)
})

test('rows that are keys of a weak map are its keys there', () => {
  class Marks {
    readonly #marks = new WeakMap<object, string>()
    mark(row: object, text: string): this {
      this.#marks.set(row, text)
      return this
    }
    of(row: object): string | undefined {
      return this.#marks.get(row)
    }
  }
  const list = rows()
  const marks = new Marks().mark(list[4]!, 'fourth')
  const result = roundTrip({ marks, args: [list] })
  assert.equal(result.marks.of(result.args[0]![4]!), 'fourth')
})

test('a long array with something that is not plain in it arrives whole', () => {
  class Point {
    readonly x: number
    constructor(x: number) {
      this.x = x
    }
    double(): number {
      return 2 * this.x
    }
  }
  const bytes = Uint8Array.of(1, 2, 3)
  const list: unknown[] = [
    ...rows(),
    () => 'called',
    new Point(4),
    bytes,
    bytes.buffer,
    new Error('inside'),
    1,
  ]
  const result = roundTrip({ target: () => 1, args: [list] }).args[0]!
  assert.equal((result[1000] as () => string)(), 'called')
  assert.equal((result[1001] as Point).double(), 8)
  assert.equal((result[1002] as Uint8Array).buffer, result[1003])
  assert.equal((result[1004] as Error).message, 'inside')
  assert.equal(result.length, list.length)
})

test('an array with holes, named properties or a frozen row keeps them', () => {
  const holes = withHoles<unknown>(rows(), 3)
  const named = Object.assign(rows(), { label: 'named' })
  const frozen: object[] = rows()
  frozen[8] = Object.freeze({ id: 1 })
  const result = roundTrip({ target: () => 1, args: [holes, named, frozen] as const })
  assert.equal(3 in result.args[0], false)
  assert.equal(result.args[1].label, 'named')
  assert.ok(Object.isFrozen(result.args[2][8]))
})

test('more long arrays than are packed arrive, too', () => {
  const lists = Array.from({ length: 40 }, (_, index) =>
    index % 2 === 0 ? rows(300) : [...rows(300), () => 1],
  )
  const result = roundTrip({ target: () => 1, args: lists })
  assert.deepStrictEqual(
    result.args.map(list => list.length),
    lists.map(list => list.length),
  )
  assert.deepStrictEqual(result.args[38], lists[38])
})

test('what a reducer gives keeps its identities inside, however long its arrays are', () => {
  class Table {
    readonly rows: Row[]
    readonly first: Row | undefined
    constructor(rows: Row[], first = rows[3]) {
      this.rows = rows
      this.first = first
    }
  }
  registerReducer<Table>({
    type: Table,
    name: 'test.Table',
    encode: ({ rows, first }) => ({ rows, first, target: () => 1 }),
    decode: data => {
      const { rows, first } = data as Table
      return new Table(rows, first)
    },
  })
  const { table } = roundTrip({ target: () => 1, table: new Table(rows()) })
  assert.equal(table.first, table.rows[3])
})
