/** ClusterEvent: a flag that programs on several machines wait for. */
import { type WaitOptions, assertTimeout } from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { decode, encode } from '../serialize/codec.ts'
import { ClusterObject } from './cluster-object.ts'
import type { StateContent, StateStore } from './state-store.ts'

interface EventState {
  isSet: boolean
  /** How often it was set: who waits goes on also when it is cleared right afterwards. */
  count: number
}

const OPTIONS = ['timeout', 'signal']

/**
 * A flag of several machines that is not set at first, with the methods of `Event`. `set()` lets all go who wait for it,
 * also when it is cleared right afterwards. It stays set when all programs have ended.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Event
 *
 * @example
 * ```ts
 * import { connectState } from 'multiproc/cluster'
 *
 * await using state = await connectState({ cluster: 'nats://queue.example:4222', name: 'render' })
 * console.log(await state.Event('ready').wait({ timeout: 10_000 }))
 * ```
 */
export class ClusterEvent extends ClusterObject {
  readonly #subject: string
  readonly #wake: string

  /** @internal Made by {@link ClusterState.Event}. */
  constructor(store: StateStore, name: string) {
    super(store, name)
    this.#subject = store.names.key('event', name)
    this.#wake = `event.${name}`
  }

  /** Whether it is set. */
  async isSet(): Promise<boolean> {
    return (await this.#look()).isSet
  }

  /** Sets it, and lets all go who wait for it. */
  async set(): Promise<void> {
    await this.#change(({ isSet, count }) => (isSet ? undefined : { isSet: true, count: count + 1 }))
    this.store.poke(this.#wake)
  }

  /** Makes it unset again. */
  async clear(): Promise<void> {
    await this.#change(({ isSet, count }) => (isSet ? { isSet: false, count } : undefined))
  }

  /**
   * Waits until it is set.
   *
   * @returns true, or false when the timeout came first
   * @throws ClosedError after `close()`; ClusterError when the server is away for too long; the reason of the signal.
   */
  async wait(options: WaitOptions = {}): Promise<boolean> {
    assertKnownOptions('Event.wait()', options, OPTIONS)
    assertTimeout(options.timeout)
    let countAtFirst: number | undefined
    const found = await this.store.waits.until(
      this.#wake,
      async cut => {
        const { isSet, count } = await this.#look(cut)
        countAtFirst ??= count
        return isSet || count !== countAtFirst ? true : undefined
      },
      options,
    )
    return found ?? false
  }

  async #look(cut?: AbortSignal): Promise<EventState> {
    return stateIn((await this.store.get(this.#subject, cut))?.content)
  }

  async #change(step: (state: EventState) => EventState | undefined): Promise<void> {
    await this.store.change(this.#subject, content => {
      const state = step(stateIn(content))
      return { frames: state && [encode(state)], result: undefined }
    })
  }
}

function stateIn(content: StateContent | undefined): EventState {
  return content ? (decode(content.frames[0]!) as EventState) : { isSet: false, count: 0 }
}
