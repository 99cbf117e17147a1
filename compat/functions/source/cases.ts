// @ts-nocheck: each tool reads it with its own options.
import { done, failure, row } from './harness.mjs'
import plusOne, { giveHidden, minusTen, Plain, square } from './lib/tasks.ts'
import * as tasks from './lib/tasks.ts'
import { basename } from 'node:path'
import os from 'node:os'
import * as acorn from 'acorn'

interface Options {
  a: number
}
const factor: number = 3
let count = 1
const config: Options = { a: 2 }
function helper<T extends number>(x: T, options: Options = config): number {
  return x + factor + options.a
}
async function slow(x: number): Promise<number> {
  await null
  return helper(x)
}
class Base {
  protected v: number = 1
  constructor(v: number) {
    this.v = v
  }
  hi(): string {
    return 'b' + this.v
  }
}
class Derived extends Base {
  #p = 4
  hi(): string {
    return super.hi() + '/' + this.#p
  }
}
class Service {
  f = 4
  run() {
    return row('the this of a method', (x: number): number => x * this.f, [2], 8)
  }
}
function deep<T>(x: T): never {
  throw new Error('deep ' + x + factor)
}
async function go() {
  await row('an arrow function', (x: number) => x * 2, [4], 8)
  await row('a closure', (x: number) => x + factor + config.a, [1], 6)
  await row('a function that is not exported', helper, [1], 6)
  await row('an async function', slow, [1], 6)
  await row('an exported function', square, [4], 16)
  await row('a default export', plusOne, [4], 5)
  await row('a static method', Plain.make, [3], new Plain(3))
  await row('a bound method', new Plain(4).times.bind(new Plain(5)), [3], 15)
  await row('a function that its module does not export', giveHidden(), [1], 12)
  await row('imports of modules', (x: number) => square(x) + minusTen(x) + tasks.square(1), [3], 3)
  await row(
    'imports of node: and packages',
    () => basename('/a/b') + typeof os.cpus + acorn.parse('1', { ecmaVersion: 2020 }).type,
    [],
    'bfunctionProgram',
  )
  await row('a class', () => new Derived(2).hi(), [], 'b2/4')
  await row('an instance', (b => () => [b.hi(), b instanceof Base])(new Derived(3)), [], ['b3/4', true])
  await row('an instance as a result', (b: Base) => b, [new Base(5)], new Base(5))
  await new Service().run()
  await row(
    'a variable that a function changes',
    () => {
      count++
      return count
    },
    [],
    2,
  )
  await row(
    'a relative import()',
    async (x: number) => (await import('./lib/hundredfold.mjs')).hundredfold(x),
    [2],
    200,
  )
  await row(
    'a generator inside',
    (n: number) => {
      function* g() {
        for (let i = 0; i < n; i++) yield i * factor
      }
      return [...g()]
    },
    [3],
    [0, 3, 6],
  )
  await failure(
    'an error',
    function boom(x: number) {
      return deep(x)
    },
    [1],
    /deep 13/,
  )
}
go().finally(done)
