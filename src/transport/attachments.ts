/**
 * What travels beside the bytes of a message between threads: shared memory and message ports, each once, however
 * often a value refers to it.
 */
import { MessagePort } from 'node:worker_threads'

/** Collects attachments while a value is encoded; `attach` is the codec's hook. */
export class AttachmentList {
  readonly items: object[] = []
  readonly #indexes = new Map<object, number>()

  /** The index of `value` among the attachments, or `undefined` when it is nothing that can be attached. */
  readonly attach = (value: object): number | undefined => {
    if (!(value instanceof SharedArrayBuffer) && !(value instanceof MessagePort)) return undefined
    let index = this.#indexes.get(value)
    if (index === undefined) {
      index = this.items.push(value) - 1
      this.#indexes.set(value, index)
    }
    return index
  }
}
