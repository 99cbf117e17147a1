/** What is passed to `Executor.map` behind the function: inputs, and at last options; and several inputs as one. */
import { assertKnownOptions } from '../platform/known-options.ts'
import { type Input, isAsyncInput } from '../pool/input-reader.ts'
import { checkCount, checkMilliseconds } from '../pool/option-checks.ts'
import { checkInput } from '../pool/pool-options.ts'
import type { ExecutorMapOptions } from './executor.ts'

export interface MapCall {
  inputs: Input<unknown>[]
  timeoutMs: number | undefined
  chunkSize: number | undefined
  bufferSize: number | undefined
}

/** @throws TypeError or RangeError. */
export function readMapCall(rest: readonly unknown[]): MapCall {
  const last = rest.at(-1)
  const isLeftOut = last === undefined && rest.length > 1
  const hasOptions = isLeftOut || isOptions(last)
  const inputs = (hasOptions ? rest.slice(0, -1) : rest) as Input<unknown>[]
  const options: ExecutorMapOptions = hasOptions ? (last ?? {}) : {}
  for (const input of inputs) checkInput(input)
  assertKnownOptions('map', options, ['timeout', 'chunkSize', 'bufferSize'])
  return {
    inputs,
    timeoutMs: checkMilliseconds('timeout', options.timeout, 0),
    chunkSize: checkCount('chunkSize', options.chunkSize),
    bufferSize: checkCount('bufferSize', options.bufferSize),
  }
}

/** An object that cannot be iterated. */
function isOptions(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    !(Symbol.iterator in value) &&
    !(Symbol.asyncIterator in value)
  )
}

/** The items of several inputs side by side, until one of them ends. */
export function zip(inputs: readonly Input<unknown>[]): Input<unknown[]> {
  if (inputs.every(isSized)) return [...zipNow(inputs)]
  if (inputs.some(isAsyncInput)) return zipLater(inputs)
  return zipNow(inputs as Iterable<unknown>[])
}

/** Whether it certainly has an end, and is there now. */
function isSized(input: Input<unknown>): input is Iterable<unknown> {
  return !isAsyncInput(input) && ('length' in Object(input) || 'size' in Object(input))
}

function* zipNow(inputs: readonly Iterable<unknown>[]): Generator<unknown[]> {
  const iterators = inputs.map(input => input[Symbol.iterator]())
  const open = new Set(iterators)
  try {
    while (iterators.length > 0) {
      const items: unknown[] = []
      for (const iterator of iterators) {
        const next = iterator.next()
        if (next.done) {
          open.delete(iterator)
          return
        }
        items.push(next.value)
      }
      yield items
    }
  } finally {
    for (const iterator of open) iterator.return?.()
  }
}

async function* zipLater(inputs: readonly Input<unknown>[]): AsyncGenerator<unknown[]> {
  const iterators = inputs.map(input =>
    isAsyncInput(input) ? input[Symbol.asyncIterator]() : input[Symbol.iterator](),
  )
  const open = new Set(iterators)
  try {
    while (iterators.length > 0) {
      const items: unknown[] = []
      for (const iterator of iterators) {
        const next = await iterator.next()
        if (next.done) {
          open.delete(iterator)
          return
        }
        items.push(next.value)
      }
      yield items
    }
  } finally {
    for (const iterator of open) await iterator.return?.()
  }
}
