/**
 * ClusterState: locks, semaphores, events, barriers, queues and dicts that programs on several machines share by their
 * names. Invariant: everything that waits ends when the state is closed here, and what is held is given back.
 */
import { ClosedError } from '../errors.ts'
import { type ClusterOptions, checkCluster } from '../pool/cluster-option.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import type { AuthKey } from '../connection/auth-key.ts'
import type { LeaseOptions } from './cluster-acquirable.ts'
import { ClusterBarrier, type ClusterBarrierOptions } from './cluster-barrier.ts'
import { ClusterDict, type ClusterKey } from './cluster-dict.ts'
import { ClusterEvent } from './cluster-event.ts'
import { ClusterLock } from './cluster-lock.ts'
import { refuseToSend } from './cluster-object.ts'
import { ClusterQueue, type ClusterQueueOptions } from './cluster-queue.ts'
import { ClusterSemaphore } from './cluster-semaphore.ts'
import { ConnectionWatch } from './connection-watch.ts'
import { closeNats, connectNats, connectionError } from './nats-client.ts'
import { checkStateName, StateNames } from './state-names.ts'
import { StateStore } from './state-store.ts'
import { openStateStream } from './state-streams.ts'

/** Options of {@link connectState}. */
export interface StateOptions {
  /** The URL of a NATS server, or everything that a pool on a cluster may be told; see {@link ClusterOptions}. */
  cluster: string | ClusterOptions
  /** 1 to 64 letters, digits, `_` or `-`. Programs that give the same name share what is in it. */
  name: string
  /** The secret of those who share it. Default: that of `cluster`, or of the environment. */
  authKey?: AuthKey | undefined
}

const STATE_OPTIONS = ['cluster', 'name', 'authKey']
const releaseMsMax = 2000

/**
 * Connects to state that several machines share. It is on the server, and stays there when all programs have ended.
 *
 * @throws TypeError and RangeError for options that make no sense; ClusterError when the server cannot be used;
 * AuthenticationError when the state is there already, and was made with another key.
 *
 * @example
 * ```ts
 * import { connectState } from 'multiproc/cluster'
 *
 * await using state = await connectState({ cluster: 'nats://queue.example:4222', name: 'render' })
 * await state.dict('settings').set('width', 1920)
 * ```
 */
export async function connectState(options: StateOptions): Promise<ClusterState> {
  assertKnownOptions('connectState()', options, STATE_OPTIONS)
  const { cluster, name, authKey } = options
  const names = new StateNames(checkStateName('shared state', name))
  const whole = typeof cluster === 'string' ? { servers: cluster } : cluster
  const settings = checkCluster(authKey === undefined ? whole : { ...whole, authKey }, name)
  const nats = await connectNats(settings, { name: 'state' })
  const store = new StateStore(nats, names, settings)
  try {
    await openStateStream(store)
    return new ClusterState(store)
  } catch (error) {
    await nats.connection.close()
    throw error
  }
}

/**
 * State that programs on several machines share: objects with the methods of those of one machine, found by their
 * names. Two objects of one name are the same thing, wherever they are.
 */
export class ClusterState implements AsyncDisposable {
  readonly #store: StateStore
  readonly #watch: ConnectionWatch

  /** @internal Made by {@link connectState}. */
  constructor(store: StateStore) {
    this.#store = store
    const { nats, settings, names, waits } = store
    this.#watch = new ConnectionWatch(nats, {
      awayMsMax: settings.connectionMsMax,
      onBack: () => waits.recover(),
      onLost: () =>
        waits.lose(
          connectionError(settings, `it has been away for ${settings.connectionMsMax} ms`, nats.refusal()),
        ),
    })
    const prefix = names.poke('')
    // Ends with the connection.
    nats.connection.subscribe(`${prefix}>`, {
      callback: (error, { subject }) => {
        if (!error) waits.poke(subject.slice(prefix.length))
      },
    })
  }

  /** The name that the programs have in common. */
  get name(): string {
    return this.#store.names.state
  }

  /** Whether `close()` was called. */
  get isClosed(): boolean {
    return this.#store.waits.isClosed
  }

  /** A lock, as `Lock`. */
  // oxlint-disable-next-line new-cap -- named as in Python
  Lock(name: string, options: LeaseOptions = {}): ClusterLock {
    return new ClusterLock(this.#store, checkStateName('a Lock', name), options)
  }

  /** A number of permits, 1 to 1000, as `BoundedSemaphore`. */
  Semaphore(name: string, permits = 1, options: LeaseOptions = {}): ClusterSemaphore {
    return new ClusterSemaphore(this.#store, checkStateName('a Semaphore', name), { ...options, permits })
  }

  /** A flag, as `Event`. */
  Event(name: string): ClusterEvent {
    return new ClusterEvent(this.#store, checkStateName('an Event', name))
  }

  /** A place where a number of programs meet, as `Barrier`. */
  Barrier(name: string, parties: number, options: ClusterBarrierOptions = {}): ClusterBarrier {
    return new ClusterBarrier(this.#store, checkStateName('a Barrier', name), { ...options, parties })
  }

  /** A queue, as `Queue`. */
  Queue<T = unknown>(name: string, options: number | ClusterQueueOptions = {}): ClusterQueue<T> {
    return new ClusterQueue<T>(this.#store, checkStateName('a Queue', name), options)
  }

  /** Keys and values, as the dict of a manager. */
  dict<K extends ClusterKey = string, V = unknown>(name: string): ClusterDict<K, V> {
    return new ClusterDict<K, V>(this.#store, checkStateName('a dict', name))
  }

  /**
   * Gives back what is held here, and ends the connection: what waits rejects with a `ClosedError`. What is on the server
   * stays. Twice is fine.
   */
  async close(): Promise<void> {
    const { waits, leases, nats } = this.#store
    if (waits.isClosed) return
    const given = Promise.allSettled([...leases].map(lease => lease.release()))
    leases.clear()
    // What cannot be given back now is given to others after its lease.
    await waits.bounded(given, { timeout: releaseMsMax }).catch(() => {})
    if (waits.isClosed) return
    waits.close(
      new ClosedError(
        `The shared state "${this.name}" was closed\nTo fix: close it when nothing uses it any more, or connect again`,
      ),
    )
    this.#watch.close()
    // An open connection lets the program end, and would do so before what was sent has left.
    const keepAlive = setInterval(() => {}, releaseMsMax)
    await closeNats(nats)
    clearInterval(keepAlive)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

refuseToSend(ClusterState, 'multiproc.ClusterState')
