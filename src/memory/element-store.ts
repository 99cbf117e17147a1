/** The elements of a shared array, wherever their memory is. */

/** What is done with a typed array whatever its elements are. */
export interface AnyArray<Element> {
  readonly length: number
  [index: number]: Element
  slice(start?: number, end?: number): AnyArray<Element>
  set(values: ArrayLike<Element>, offset?: number): void
  fill(value: Element, start?: number, end?: number): void
}

export interface ElementStore<Element> {
  readonly length: number
  get(index: number): Element | undefined
  put(index: number, value: Element): void
  /** A copy in ordinary memory. */
  slice(start?: number, end?: number): unknown
  set(values: ArrayLike<Element>, offset: number): void
  fill(value: Element, start?: number, end?: number): void
}

/** In memory that is here. */
export class ArrayElements<Element> implements ElementStore<Element> {
  readonly #array: AnyArray<Element>

  constructor(array: AnyArray<Element>) {
    this.#array = array
  }

  get length(): number {
    return this.#array.length
  }

  get(index: number): Element | undefined {
    return this.#array[index]
  }

  put(index: number, value: Element): void {
    this.#array[index] = value
  }

  slice(start?: number, end?: number): unknown {
    return this.#array.slice(start, end)
  }

  set(values: ArrayLike<Element>, offset: number): void {
    this.#array.set(values, offset)
  }

  fill(value: Element, start?: number, end?: number): void {
    this.#array.fill(value, start, end)
  }
}
