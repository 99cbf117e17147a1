// @ts-nocheck: each tool reads it with its own options.
import { done, row } from './harness.mjs'

function log(target: any, context: any, descriptor?: any) {
  if (context?.kind === 'method') {
    return function (this: any, ...args: any[]) {
      return 'L' + target.apply(this, args)
    }
  }
  const fn = descriptor.value
  descriptor.value = function (...args: any[]) {
    return 'L' + fn.apply(this, args)
  }
  return descriptor
}
function tag(type: any) {
  type.tag = 'T'
}
@tag
class Decorated {
  constructor(public k: number) {}
  @log hi(x: number) {
    return this.k + x
  }
  plain() {
    return 'p'
  }
  static s = 5
  static make(k: number) {
    return new Decorated(k)
  }
}
enum Color {
  Red = 3,
  Blue,
}
namespace Space {
  export const q = 4
  export function f() {
    return q + Color.Blue
  }
}
class Point {
  constructor(
    private readonly z: number,
    public y = 2,
  ) {}
  sum() {
    return this.z + this.y
  }
}
async function* numbers() {
  yield 1
  yield* [2, 3]
}
async function go() {
  await row(
    'a decorated class',
    () => [new Decorated(1).hi(2), new Decorated(1).plain(), Decorated.s, Decorated.tag, Decorated.make(3).k],
    [],
    ['L3', 'p', 5, 'T', 3],
  )
  await row(
    'a decorated instance',
    (a => () => [a.hi(1), a instanceof Decorated])(new Decorated(7)),
    [],
    ['L8', true],
  )
  await row('enum and namespace', () => [Color.Red, Color[4], Space.f(), Space.q], [], [3, 'Blue', 8, 4])
  await row('parameter properties', () => new Point(1).sum(), [], 3)
  await row(
    'for await',
    async () => {
      let s = 0
      for await (const x of numbers()) s += x
      return s
    },
    [],
    6,
  )
  await row(
    'logical assignment',
    (o: any) => {
      o.a ??= 5
      o.b ||= 6
      return [o.a, o.b, o?.c?.d ?? 7]
    },
    [{}],
    [5, 6, 7],
  )
  await row(
    'using',
    () => {
      let text = ''
      {
        using r = {
          [Symbol.dispose]() {
            text += 'd'
          },
        }
        text += 'b'
      }
      return text
    },
    [],
    'bd',
  )
}
go().finally(done)
