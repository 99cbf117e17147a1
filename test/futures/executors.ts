/** One body of tests for executors of every kind, and functions that their workers import. */
import { describe } from 'node:test'
import {
  InterpreterPoolExecutor,
  ProcessPoolExecutor,
  ThreadPoolExecutor,
  type BrokenExecutor,
  BrokenInterpreterPool,
  BrokenProcessPool,
  BrokenThreadPool,
  type ExecutorOptions,
} from 'multiproc'

export type AnyExecutor = ProcessPoolExecutor | ThreadPoolExecutor

export interface Kind {
  name: string
  make(options?: number | ExecutorOptions): AnyExecutor
  Broken: new (...args: never[]) => BrokenExecutor
}

export const kinds: Kind[] = [
  {
    name: 'ProcessPoolExecutor',
    make: options => new ProcessPoolExecutor(options),
    Broken: BrokenProcessPool,
  },
  { name: 'ThreadPoolExecutor', make: options => new ThreadPoolExecutor(options), Broken: BrokenThreadPool },
  {
    name: 'InterpreterPoolExecutor',
    make: options => new InterpreterPoolExecutor(options),
    Broken: BrokenInterpreterPool,
  },
]

/** Declares the tests of `body` once for each kind of executor. */
export function forEachExecutor(body: (kind: Kind) => void): void {
  for (const kind of kinds) describe(kind.name, () => body(kind))
}

export function identity<T>(value: T): T {
  return value
}

/** Ends the worker, which has no time to say anything about it. */
export function dieHard(code: number): never {
  process.exit(code)
}

export async function collect<T>(results: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const result of results) all.push(result)
  return all
}
