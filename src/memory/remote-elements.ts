/** Elements whose memory is in another process: each access is a call there. */
import { type Operations, callNow } from '../broker/shareable.ts'
import type { AnyArray, ElementStore } from './element-store.ts'

export class RemoteElements<Element> implements ElementStore<Element> {
  readonly #object: object
  readonly length: number

  /** @param object - the remote object that they belong to */
  constructor(object: object, length: number) {
    this.#object = object
    this.length = length
  }

  get(index: number): Element | undefined {
    return callNow(this.#object, 'get', [index]) as Element | undefined
  }

  put(index: number, value: Element): void {
    callNow(this.#object, 'put', [index, value])
  }

  slice(start?: number, end?: number): unknown {
    return callNow(this.#object, 'slice', [start, end])
  }

  set(values: ArrayLike<Element>, offset: number): void {
    callNow(this.#object, 'set', [Array.from(values), offset])
  }

  fill(value: Element, start?: number, end?: number): void {
    callNow(this.#object, 'fill', [value, start, end])
  }
}

/** What the home of such elements does. Whoever asks has the lock, where there is one. */
export function elementOperations<T extends object>(
  arrayOf: (object: T) => AnyArray<unknown>,
): Operations<T> {
  return {
    get: (object, [index]) => arrayOf(object)[index as number],
    put: (object, [index, value]) => {
      arrayOf(object)[index as number] = value
    },
    slice: (object, [start, end]) =>
      arrayOf(object).slice(start as number | undefined, end as number | undefined),
    set: (object, [values, offset]) => arrayOf(object).set(values as unknown[], offset as number),
    fill: (object, [value, start, end]) => {
      arrayOf(object).fill(value, start as number | undefined, end as number | undefined)
    },
  }
}
