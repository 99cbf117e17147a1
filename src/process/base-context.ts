/**
 * A context: the whole API bound to one start method. Upper layers extend this class with what they add (`Pool`,
 * `Queue`); there is one object per class and method, so contexts can be compared.
 */
import { cpuCount } from '../platform/cpu-count.ts'
import { AuthenticationError, ProcessError, TimeoutError, invalidState } from '../errors.ts'
import { rawArray } from '../memory/raw-array.ts'
import { RawValue } from '../memory/raw-value.ts'
import { Pipe } from '../queue/pipe.ts'
import { JoinableQueue, Queue } from '../queue/queue.ts'
import { SimpleQueue } from '../queue/simple-queue.ts'
import { Barrier } from '../sync/barrier.ts'
import { BoundedSemaphore } from '../sync/bounded-semaphore.ts'
import { Condition } from '../sync/condition.ts'
import { Event } from '../sync/event.ts'
import { Lock } from '../sync/lock.ts'
import { RLock } from '../sync/rlock.ts'
import { Semaphore } from '../sync/semaphore.ts'
import { SharedArray } from '../sync/shared-array.ts'
import { SharedValue } from '../sync/shared-value.ts'
import { SpawnProcess, ThreadProcess } from './bound-processes.ts'
import type { StartMethod } from './child-boot.ts'
import { setExecutable } from './executable.ts'
import { activeChildren, currentProcess } from './process.ts'
import { parentProcess } from './process-state.ts'
import { assertStartMethod, getAllStartMethods, getStartMethod } from './start-methods.ts'

const made = new WeakMap<object, Map<StartMethod, BaseContext>>()

/**
 * The API of this library bound to one start method; made by `getContext()`.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
 */
export class BaseContext {
  readonly startMethod: StartMethod

  constructor(startMethod: StartMethod) {
    this.startMethod = startMethod
  }

  /** The one context of this class for `method`; without a method, for the default one, which it fixes. */
  static for<Context extends BaseContext>(
    this: new (startMethod: StartMethod) => Context,
    method: StartMethod = getStartMethod(),
  ): Context {
    assertStartMethod(method)
    const contexts = made.get(this) ?? new Map<StartMethod, BaseContext>()
    made.set(this, contexts)
    const context = contexts.get(method) ?? new this(method)
    contexts.set(method, context)
    return context as Context
  }

  /** `Process` bound to this context's start method. */
  get Process(): typeof SpawnProcess {
    return this.startMethod === 'thread' ? ThreadProcess : SpawnProcess
  }

  // These work between all processes and threads of a program, however they were started.

  get Queue(): typeof Queue {
    return Queue
  }

  get JoinableQueue(): typeof JoinableQueue {
    return JoinableQueue
  }

  get SimpleQueue(): typeof SimpleQueue {
    return SimpleQueue
  }

  get Pipe(): typeof Pipe {
    return Pipe
  }

  get Lock(): typeof Lock {
    return Lock
  }

  get RLock(): typeof RLock {
    return RLock
  }

  get Semaphore(): typeof Semaphore {
    return Semaphore
  }

  get BoundedSemaphore(): typeof BoundedSemaphore {
    return BoundedSemaphore
  }

  get Condition(): typeof Condition {
    return Condition
  }

  get Event(): typeof Event {
    return Event
  }

  get Barrier(): typeof Barrier {
    return Barrier
  }

  get SharedValue(): typeof SharedValue {
    return SharedValue
  }

  get SharedArray(): typeof SharedArray {
    return SharedArray
  }

  get RawValue(): typeof RawValue {
    return RawValue
  }

  get rawArray(): typeof rawArray {
    return rawArray
  }

  // As in Python, so that what has a context only can catch what it throws.

  get ProcessError(): typeof ProcessError {
    return ProcessError
  }

  get TimeoutError(): typeof TimeoutError {
    return TimeoutError
  }

  get AuthenticationError(): typeof AuthenticationError {
    return AuthenticationError
  }

  /** The context itself, or that of another start method. */
  getContext(method: StartMethod = this.startMethod): this {
    return BaseContext.for.call(this.constructor as typeof BaseContext, method) as this
  }

  getStartMethod(): StartMethod {
    return this.startMethod
  }

  /** @throws ProcessError `ERR_INVALID_STATE`, always: a context keeps its start method. */
  setStartMethod(method: StartMethod | null): never {
    throw invalidState(
      `Cannot set the start method of a context to "${method}": it is bound to ` +
        `"${this.startMethod}"\n` +
        `To fix: use getContext("${method}"), or the setStartMethod() of the package`,
    )
  }

  getAllStartMethods(): StartMethod[] {
    return getAllStartMethods()
  }

  setExecutable(path: string | Uint8Array | URL): void {
    setExecutable(path)
  }

  cpuCount(): number {
    return cpuCount()
  }

  currentProcess(): ReturnType<typeof currentProcess> {
    return currentProcess()
  }

  parentProcess(): ReturnType<typeof parentProcess> {
    return parentProcess()
  }

  activeChildren(): ReturnType<typeof activeChildren> {
    return activeChildren()
  }
}
