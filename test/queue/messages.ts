/** Messages that stay here, as those between threads: so that a test decides when, and how often, each is read. */
import { decode, encode } from '#src/serialize/codec.js'

/** A message that was sent and has not arrived. */
export class Message<T> {
  readonly #bytes: Uint8Array
  readonly #attachments: object[] = []

  constructor(value: T) {
    this.#bytes = encode(value, { attach: each => this.#attachments.push(each) - 1 })
  }

  read(): T {
    return decode(this.#bytes, { attachments: this.#attachments }) as T
  }
}
