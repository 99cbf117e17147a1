/**
 * The error classes that both sides always have: JavaScript's and our own. Their order is part of the format.
 */
import * as errors from '../errors.ts'

type ErrorClass = abstract new (...parameters: never[]) => Error

/** JavaScript's own, then ours. A new class goes to the end. */
export const sharedErrorClasses: readonly ErrorClass[] = [
  Error,
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
  EvalError,
  URIError,
  AggregateError,
  errors.ProcessError,
  errors.TimeoutError,
  errors.ClosedError,
  errors.SerializeError,
  errors.MaybeEncodingError,
  errors.WorkerDiedError,
  errors.RemoteError,
  errors.ModuleLoadError,
  errors.BrokenPoolError,
  errors.OwnerDiedError,
  errors.BrokenBarrierError,
  errors.QueueEmptyError,
  errors.QueueFullError,
  errors.PoisonedItemError,
  errors.InterruptedError,
  errors.BrokenExecutor,
  errors.BrokenProcessPool,
  errors.BrokenThreadPool,
  errors.BrokenInterpreterPool,
  errors.CancelledError,
  errors.InvalidStateError,
]

/** The nearest shared class in the prototype chain of an error, and whether it is exactly that. */
export function nearestSharedClass(error: object): { index: number; isExact: boolean } {
  const own: object | null = Object.getPrototypeOf(error)
  for (let link = own; link !== null; link = Object.getPrototypeOf(link)) {
    const index = sharedErrorClasses.findIndex(candidate => candidate.prototype === link)
    if (index >= 0) return { index, isExact: link === own }
    // An error of another realm (a vm context): its built-in class is known by name.
    const name: unknown = Object.getOwnPropertyDescriptor(link, 'name')?.value
    const byName = sharedErrorClasses.findIndex((candidate, i) => i < 8 && candidate.name === name)
    const constructor: unknown = Object.getOwnPropertyDescriptor(link, 'constructor')?.value
    if (byName >= 0 && typeof constructor === 'function' && constructor.name === name) {
      return { index: byName, isExact: link === own }
    }
  }
  return { index: 0, isExact: false }
}
