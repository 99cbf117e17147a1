/**
 * Process classes with a fixed start method, as contexts hand them out. They are exports of a module, and not made
 * by the contexts, so that a child finds the class of a sent instance by its name.
 */
import { Process, type ProcessOptions } from './process.ts'

type BoundOptions<Args extends readonly unknown[], Result> = [] extends Args
  ? [options?: ProcessOptions<Args, Result>]
  : [options: ProcessOptions<Args, Result>]

/** A {@link Process} that always starts as a process. */
export class SpawnProcess<Args extends readonly unknown[] = [], Result = unknown> extends Process<
  Args,
  Result
> {
  constructor(...[options]: BoundOptions<Args, Result>) {
    super(...([{ ...options, context: 'spawn' }] as unknown as BoundOptions<Args, Result>))
  }
}

/** A {@link Process} that always starts as a thread. */
export class ThreadProcess<Args extends readonly unknown[] = [], Result = unknown> extends Process<
  Args,
  Result
> {
  constructor(...[options]: BoundOptions<Args, Result>) {
    super(...([{ ...options, context: 'thread' }] as unknown as BoundOptions<Args, Result>))
  }
}
