/**
 * Functions as the workers of one pool can load them: by reference to their modules, until a worker says that it cannot
 * load one. Invariant: a module that could not be loaded somewhere is not referred to again.
 */
import { ModuleLoadError } from '../errors.ts'
import { unchangingBytes } from '../serialize/codec.ts'
import type { Chunk } from './chunk.ts'
import { type Body, encodeBody } from './protocol.ts'

export class FunctionEncoder {
  readonly #wire: { readonly canAttach: boolean; readonly isElsewhere: boolean }
  /** Modules that workers could not load. */
  readonly #byValue = new Set<string>()

  constructor(wire: { readonly canAttach: boolean; readonly isElsewhere: boolean }) {
    this.#wire = wire
  }

  encode(fn: (...args: never[]) => unknown): Body {
    const unchanging = this.#byValue.size === 0 ? unchangingBytes(fn) : undefined
    if (unchanging) return { bytes: unchanging }
    const byValue = this.#byValue.size > 0 ? (url: string) => this.#byValue.has(url) : undefined
    const rootName = `function ${fn.name || 'anonymous'}`
    return encodeBody(fn, this.#wire, { rootName, byValue, isReadOften: true })
  }

  /** With what it needs of its modules, or `undefined` where that cannot be sent. */
  encodeByValue(fn: (...args: never[]) => unknown): Body | undefined {
    try {
      return encodeBody(fn, this.#wire, { rootName: 'function', byValue: () => true, isReadOften: true })
    } catch {
      return undefined
    }
  }

  /**
   * A worker could not load a module that the function was to be imported from: it runs under other loader hooks, or on
   * another machine. What the function needs of that module is then sent by value. Returns whether that can help.
   */
  sendByValue({ task, taskVersion }: Chunk, reason: unknown): boolean {
    // Another worker said the same before, and the function has been encoded anew since.
    if (taskVersion < task.version) return true
    if (task.byValue && reason instanceof ModuleLoadError) {
      task.body = task.byValue
      delete task.byValue
      task.version++
      return true
    }
    const source = task.source?.deref()
    if (!(reason instanceof ModuleLoadError) || !reason.canSendByValue || !source) return false
    if (this.#byValue.has(reason.url)) return false
    this.#byValue.add(reason.url)
    try {
      task.body = this.encode(source)
    } catch {
      // Why the module could not be loaded says more than why the function cannot be sent without it.
      return false
    }
    task.version++
    return true
  }
}
