/**
 * The initializer of a pool on a cluster. Its workers belong to agents and work for other pools as well, so it goes along
 * with the functions of its pool. Invariant: it runs once in each worker, before the first task of its pool there; a
 * worker in which it failed runs no task of the pool.
 */
import { randomBytes } from 'node:crypto'
import { BrokenPoolError } from '../errors.ts'
import { lendWorkerState } from './current-task.ts'
import { checkFunction } from './pool-options.ts'
import { isThenable } from './result-kinds.ts'

type AnyFunction = (...args: never[]) => unknown

/** What a pool was given. */
interface Setup {
  /** Of this pool. */
  readonly key: string
  readonly poolName: string
  readonly initializer: (...args: unknown[]) => unknown
  readonly args: readonly unknown[]
}

type State =
  | { is: 'ready'; value: unknown }
  | { is: 'failed'; error: unknown }
  | { is: 'starting'; done: Promise<void> }

/** So many pools are remembered in a worker; the initializer of an older one would run again. */
const statesMax = 100

/** Of this worker. */
const states = new Map<string, State>()

/** Puts the initializer of a pool in front of its functions. */
export class ClusterInitializer {
  readonly #setup: Setup
  readonly #wrapped = new WeakMap<AnyFunction, AnyFunction>()

  constructor(poolName: string, initializer: AnyFunction, args: readonly unknown[]) {
    checkFunction('The option "initializer"', initializer)
    const key = randomBytes(8).toString('hex')
    this.#setup = { key, poolName, initializer: initializer as Setup['initializer'], args: [...args] }
  }

  /** The same function for the same one. */
  wrap(fn: AnyFunction): AnyFunction {
    const known = this.#wrapped.get(fn)
    if (known) return known
    const wrapped = initialized(fn as (...values: unknown[]) => unknown, this.#setup)
    Object.defineProperty(wrapped, 'name', { value: fn.name })
    this.#wrapped.set(fn, wrapped)
    return wrapped
  }
}

function initialized(fn: (...values: unknown[]) => unknown, setup: Setup): AnyFunction {
  return (...values: unknown[]) => runInitialized(fn, setup, values)
}

/** In a worker. Of a function that is not async the result comes at once. */
export function runInitialized(
  fn: (...values: unknown[]) => unknown,
  setup: Setup,
  values: readonly unknown[],
): unknown {
  const state = states.get(setup.key) ?? begin(setup)
  if (state.is === 'failed') throw state.error
  if (state.is === 'starting') return state.done.then(() => runInitialized(fn, setup, values))
  lendWorkerState(state.value)
  return fn(...values)
}

function begin(setup: Setup): State {
  const keep = (state: State): State => {
    states.delete(setup.key)
    states.set(setup.key, state)
    if (states.size > statesMax) states.delete(states.keys().next().value!)
    return state
  }
  const fail = (cause: unknown): State => keep({ is: 'failed', error: failure(setup, cause) })
  try {
    const value = setup.initializer(...setup.args)
    if (!isThenable(value)) return keep({ is: 'ready', value })
    const done = Promise.resolve(value).then(
      ready => void keep({ is: 'ready', value: ready }),
      (cause: unknown) => void fail(cause),
    )
    return keep({ is: 'starting', done })
  } catch (cause) {
    return fail(cause)
  }
}

function failure({ poolName }: Setup, cause: unknown): BrokenPoolError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new BrokenPoolError(
    'ERR_INITIALIZER_FAILED',
    `The initializer of the pool "${poolName}" failed in a worker of another machine, which runs none of its tasks: ${reason}\nTo fix: see the cause`,
    { cause },
  )
}
