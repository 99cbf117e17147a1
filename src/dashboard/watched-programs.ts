/**
 * The programs that a dashboard shows: finds them, asks each twice a second, and keeps what they said when they end.
 * Invariant: a program that is stopped, lies or ends is no error of the others; at most 32 programs are known.
 */
import { type InspectedName, inspectedNames } from '../platform/inspection-folder.ts'
import type { HistoryMessage, ProgramBrief, UpdateMessage } from './live-messages.ts'
import { type ProgramSource, connectProgram } from './program-source.ts'
import { ProgramView } from './program-view.ts'

const askEveryMs = 500
const findEveryMs = 1000
const silentAfterMs = 2000
const programsMax = 32

interface Watched {
  id: string
  source: ProgramSource
  view: ProgramView
  hasEnded: boolean
  wasSilent: boolean
}

export interface ProgramsListener {
  /** There is another program, or one is in another state. */
  onPrograms(): void
  onUpdate(id: string, update: UpdateMessage): void
}

export class WatchedPrograms {
  readonly #watched: Watched[] = []
  /** Names that are connected to, or that did not answer: the latter are tried again at the next search. */
  readonly #known = new Set<string>()
  readonly #asking: NodeJS.Timeout
  #finding: NodeJS.Timeout | undefined
  #isClosed = false
  listener: ProgramsListener | undefined

  /** Its timers never keep a program alive. Ended by `close()`. */
  constructor() {
    this.#asking = setInterval(() => this.#askAll(), askEveryMs).unref()
  }

  get briefs(): ProgramBrief[] {
    return this.#watched.map(({ id, source, hasEnded, wasSilent }) => {
      const { pid, command, node, startedAtMs } = source.hello
      return {
        id,
        pid,
        command,
        node,
        startedAtMs,
        state: hasEnded ? 'ended' : wasSilent ? 'silent' : 'running',
      }
    })
  }

  /** Of a program that is shown, or `undefined` when there is none of that id. */
  viewOf(id: string): { history: HistoryMessage; latest: UpdateMessage | undefined } | undefined {
    const found = this.#watched.find(watched => watched.id === id)
    return found && { history: found.view.history(), latest: found.view.latest }
  }

  add(source: ProgramSource): void {
    const { pid } = source.hello
    const same = this.#watched.filter(({ source: other }) => other.hello.pid === pid).length
    const watched: Watched = {
      id: same === 0 ? String(pid) : `${pid}-${same + 1}`,
      source,
      view: new ProgramView(),
      hasEnded: false,
      wasSilent: false,
    }
    source.onSnapshot = snapshot => this.listener?.onUpdate(watched.id, watched.view.add(snapshot))
    source.onEnd = () => {
      watched.hasEnded = true
      this.listener?.onPrograms()
    }
    this.#watched.push(watched)
    this.#forgetEnded()
    this.listener?.onPrograms()
    source.ask(0)
  }

  /** Finds programs from now on: those that `names` gives. */
  find(names: () => InspectedName[] = inspectedNames): void {
    const look = (): void => {
      for (const name of names()) if (!this.#known.has(name.path)) void this.#connect(name)
    }
    this.#finding = setInterval(look, findEveryMs).unref()
    look()
  }

  async #connect(name: InspectedName): Promise<void> {
    const running = this.#watched.filter(({ hasEnded }) => !hasEnded).length
    if (name.pid === process.pid || running >= programsMax) return
    this.#known.add(name.path)
    try {
      const source = await connectProgram(name)
      if (this.#isClosed) source.close()
      else this.add(source)
    } catch {
      // It has just ended, or is busy: who is still there is tried again.
      this.#known.delete(name.path)
    }
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#asking)
    clearInterval(this.#finding)
    for (const { source } of this.#watched) source.close()
  }

  /** Asks all for the last numbers now: those that are in this process answer before it returns. */
  askNow(): void {
    for (const { source, view, hasEnded } of this.#watched) if (!hasEnded) source.ask(view.failureNumber)
  }

  #askAll(): void {
    let isChanged = false
    for (const watched of this.#watched) {
      const { source, view, hasEnded } = watched
      if (hasEnded) continue
      source.ask(view.failureNumber)
      const isSilent = performance.now() - (source.askedAtMs ?? Infinity) > silentAfterMs
      isChanged ||= isSilent !== watched.wasSilent
      watched.wasSilent = isSilent
    }
    if (isChanged) this.listener?.onPrograms()
  }

  /** Those that ended first make room. */
  #forgetEnded(): void {
    while (this.#watched.length > programsMax) {
      const at = this.#watched.findIndex(({ hasEnded }) => hasEnded)
      if (at < 0) return
      this.#watched.splice(at, 1)
    }
  }
}
