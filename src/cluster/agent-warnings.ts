/** What an agent warns of, each once for a pool. */
import type { PoolNames } from './names.ts'

export class AgentWarnings {
  readonly #names: PoolNames
  readonly #given = new Set<string>()

  constructor(names: PoolNames) {
    this.#names = names
  }

  ofStranger(): void {
    this.#warn(
      `The agent was sent work for the pool "${this.#names.pool}" that is not signed with its key, and does not run it\nTo fix: give programs and agents of the pool the same MULTIPROC_AUTH_KEY`,
    )
  }

  ofRights({ message }: Error): void {
    this.#warn(
      `The agent cannot write what came of the work of the pool "${this.#names.pool}", and tries again (${message})\nTo fix: give its user the rights that docs/guide/cluster.md lists`,
    )
  }

  ofClasses({ message }: Error): void {
    this.#warn(
      `The agent cannot look which work of the pool "${this.#names.pool}" requires labels or resources (${message}), and fetches such work only when it hears of it\nTo fix: if users of the server have rights, let this one publish to $JS.API.CONSUMER.LIST.${this.#names.tasks}`,
    )
  }

  #warn(text: string): void {
    const kind = text.slice(text.indexOf('\n'))
    if (this.#given.has(kind)) return
    this.#given.add(kind)
    process.emitWarning(text, 'ClusterWarning')
  }
}
