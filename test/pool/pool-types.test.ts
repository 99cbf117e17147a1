/** What the compiler says of a pool's methods. The test itself is that this file compiles. */
import { test } from 'node:test'
import { expectTypeOf } from 'expect-type'
import type { AsyncResult, ImapIterator, Pool } from 'multiproc'

test('types flow from functions and items to results', () => {
  // Never called: only its types matter.
  const check = (pool: Pool): void => {
    expectTypeOf(pool.map((x: number) => String(x), [1])).toEqualTypeOf<AsyncResult<string[]>>()
    expectTypeOf(pool.map(async (x: number) => x, [1])).toEqualTypeOf<AsyncResult<number[]>>()
    expectTypeOf(pool.map(x => x * 2, [1, 2])).toEqualTypeOf<AsyncResult<number[]>>()
    expectTypeOf(pool.apply((a: number, b: string) => [a, b] as const, [1, 'b'])).toEqualTypeOf<
      AsyncResult<readonly [number, string]>
    >()
    expectTypeOf(pool.starmap((a: number, b: string) => a + b, [[1, 'a']])).toEqualTypeOf<
      AsyncResult<string[]>
    >()
    expectTypeOf(pool.mapSettled((x: number) => x, [1])).toEqualTypeOf<
      AsyncResult<PromiseSettledResult<number>[]>
    >()
    expectTypeOf(pool.imap((x: number) => x, new Set([1]))).toEqualTypeOf<ImapIterator<number>>()
    // @ts-expect-error -- a string is no number
    pool.map((x: number) => x, ['a'])
    // @ts-expect-error -- an argument is missing
    pool.apply((a: number, b: string) => [a, b], [1])
    // @ts-expect-error -- no such option
    pool.map((x: number) => x, [1], { chunks: 1 })
  }
  void check
})
