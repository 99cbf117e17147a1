/**
 * Which agents serve a pool, as far as a program has heard of them. Agents announce themselves every few seconds, and
 * answer a roll call at once. Invariant: who has been silent for three announcements counts no more.
 */
import type { Subscription } from '@nats-io/transport-node'
import type { Nats } from './nats-client.ts'
import type { PoolNames } from './names.ts'
import type { Post } from './post.ts'
import { type AgentFacts, announceEveryMs, silentMsMax } from './work-message.ts'

/** An agent as it was heard of last. */
export interface HeardAgent {
  facts: AgentFacts
  /** By `performance.now()`. */
  heardAtMs: number
  /** The chunks of this program that it had when it was asked. */
  held: readonly number[]
}

export class AgentsView {
  readonly #nats: Nats
  readonly #names: PoolNames
  readonly #post: Post
  readonly #onChange: () => void
  readonly #agents = new Map<string, HeardAgent>()
  /** The program that has asked which of its chunks they have. */
  #session: string | undefined
  readonly #subscription: Subscription
  readonly #timer: NodeJS.Timeout

  constructor(nats: Nats, names: PoolNames, { post, onChange }: { post: Post; onChange: () => void }) {
    this.#nats = nats
    this.#names = names
    this.#post = post
    this.#onChange = onChange
    this.#subscription = nats.connection.subscribe(names.agents, {
      callback: (error, message) => {
        if (!error) this.#hear(message.data)
      },
    })
    // Stopped in close().
    this.#timer = setInterval(() => this.#forgetSilent(), announceEveryMs).unref()
    this.callRoll()
  }

  get all(): AgentFacts[] {
    return Array.from(this.#agents.values(), ({ facts }) => facts)
  }

  get processes(): number {
    return this.all.reduce((sum, { processes }) => sum + processes, 0)
  }

  get heard(): HeardAgent[] {
    return Array.from(this.#agents.values())
  }

  /** Asks all of them to announce themselves now, and to say which chunks of this program they have. */
  callRoll(session?: string): void {
    this.#session = session ?? this.#session
    this.#nats.connection.publish(this.#names.rollCall, session)
  }

  close(): void {
    clearInterval(this.#timer)
    this.#subscription.unsubscribe()
  }

  #hear(bytes: Uint8Array): void {
    const facts = this.#post.readNote(this.#names.agents, bytes)?.head as AgentFacts | undefined
    if (!facts) return
    const before = this.processes
    if (facts.isLeaving) this.#agents.delete(facts.agent)
    else {
      const { session, chunkIds } = facts.held ?? {}
      const isAnswer = session !== undefined && session === this.#session
      const held = isAnswer ? (chunkIds ?? []) : (this.#agents.get(facts.agent)?.held ?? [])
      this.#agents.set(facts.agent, { facts, heardAtMs: performance.now(), held })
    }
    if (this.processes !== before) this.#onChange()
  }

  #forgetSilent(): void {
    const before = this.processes
    const nowMs = performance.now()
    for (const [agent, { heardAtMs }] of this.#agents) {
      if (nowMs - heardAtMs > silentMsMax) this.#agents.delete(agent)
    }
    if (this.processes !== before) this.#onChange()
  }
}
