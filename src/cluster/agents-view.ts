/**
 * Which agents serve a pool, as far as a program has heard of them. Agents announce themselves every few seconds, and
 * answer a roll call at once. Invariant: who has been silent for three announcements counts no more.
 */
import type { Subscription } from '@nats-io/transport-node'
import type { Nats } from './nats-client.ts'
import type { PoolNames } from './names.ts'
import type { Post } from './post.ts'
import { type AgentFacts, announceEveryMs, silentMsMax } from './work-message.ts'

export class AgentsView {
  readonly #nats: Nats
  readonly #names: PoolNames
  readonly #post: Post
  readonly #onChange: () => void
  readonly #agents = new Map<string, { facts: AgentFacts; heardAtMs: number }>()
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

  /** Asks all of them to announce themselves now. */
  callRoll(): void {
    this.#nats.connection.publish(this.#names.rollCall)
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
    else this.#agents.set(facts.agent, { facts, heardAtMs: performance.now() })
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
