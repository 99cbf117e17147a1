/** The functions that a worker was sent: as bytes, and as what they are once somebody has asked for them. */
import { noteBundle } from '../serialize/bundles.ts'
import { type ClassScope, decode, prepare } from '../serialize/codec.ts'
import { endLoanOfState } from './current-task.ts'
import type { Body, ChunkHead } from './protocol.ts'

export type Task = (...values: unknown[]) => unknown

/** A function, and the classes that came with it: its items are instances of these. */
export interface LoadedFunction {
  task: Task
  classes: ClassScope
}

interface SentFunction extends Partial<LoadedFunction> {
  body: Body
  classes: ClassScope
}

export class LoadedFunctions {
  readonly #functions = new Map<number, SentFunction>()

  set(functionId: number, body: Body): void {
    this.#functions.set(functionId, { body, classes: new Map() })
  }

  delete(functionId: number): void {
    this.#functions.delete(functionId)
  }

  /** Loads that of a chunk once; `onLoading` is called before that may end this process. */
  async get(
    { functionId, bundles = [] }: Pick<ChunkHead, 'functionId' | 'bundles'>,
    onLoading: () => void,
  ): Promise<LoadedFunction> {
    endLoanOfState()
    for (const bundle of bundles) noteBundle(bundle)
    const entry = this.#functions.get(functionId)
    if (!entry) {
      throw new Error(`This is a bug in multiproc, please report it: function ${functionId} is not here`)
    }
    if (!entry.task) {
      onLoading()
      await prepare(entry.body.bytes)
      entry.task = rebuild(entry.body, { definedClasses: entry.classes }) as Task
    }
    return { task: entry.task, classes: entry.classes }
  }
}

/** Not async, because what it returns may be an object with a `then` of its own. */
export function rebuild(
  { bytes, attachments }: Body,
  classes: { classes?: ClassScope; definedClasses?: ClassScope },
): unknown {
  return decode(bytes, { ...classes, attachments })
}
