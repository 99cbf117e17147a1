/**
 * The dashboard that a program opens for itself, by the option `dashboard` of a pool. Invariant: there is one for all
 * pools of the program, it keeps nothing alive, and it ends with the last pool that asked for it.
 */
import { openAddress } from '../platform/open-address.ts'
import { writeOrIgnore } from '../platform/standard-streams.ts'
import type { DashboardOptions } from '../pool/dashboard-option.ts'
import { type LivePool, livePools, observePools } from '../pool/live-pools.ts'
import { DashboardServer } from './dashboard-server.ts'
import { ownProgram } from './program-source.ts'
import { WatchedPrograms } from './watched-programs.ts'

class PoolDashboard {
  readonly #programs = new WatchedPrograms()
  readonly #pools = new Set<LivePool>()
  readonly #stopObserving: () => void
  #server: DashboardServer | undefined
  #isClosed = false

  constructor() {
    this.#programs.add(ownProgram())
    this.#stopObserving = observePools({ opened: () => {}, ended: pool => this.remove(pool) })
  }

  add(pool: LivePool): void {
    this.#pools.add(pool)
  }

  remove(pool: LivePool): void {
    this.#pools.delete(pool)
    if (this.#pools.size === 0 && !this.#isClosed) this.#close()
  }

  async open({ port, open }: DashboardOptions): Promise<void> {
    try {
      this.#server = await DashboardServer.open(this.#programs, { port, keepsAlive: false })
    } catch (error) {
      // The work goes on without it.
      process.emitWarning(error as Error)
      this.#close()
      return
    }
    if (this.#isClosed) {
      await this.#server.close()
      return
    }
    writeOrIgnore(process.stderr, `multiproc dashboard: ${this.#server.address}\n`)
    if (open) openAddress(this.#server.address)
  }

  #close(): void {
    this.#isClosed = true
    if (current === this) current = undefined
    this.#stopObserving()
    this.#programs.askNow()
    this.#programs.close()
    // Nobody has to wait for it, and nothing of it can fail but what has failed.
    void this.#server?.close()
  }
}

let current: PoolDashboard | undefined

/** Opens the dashboard of this program for the first pool that wants it, with the options of that one. */
export function showOnDashboard(pool: LivePool, options: DashboardOptions): void {
  if (![...livePools()].includes(pool)) return
  if (current) {
    current.add(pool)
    return
  }
  current = new PoolDashboard()
  current.add(pool)
  void current.open(options)
}
