/**
 * The stream of events from the server. Invariant: when it breaks it is opened again, with growing pauses, until the
 * server says that there is nothing more to come; then the page keeps its last numbers.
 */
import type { HistoryMessage, ProgramsMessage, UpdateMessage } from '../live-messages.ts'

export type StreamState = 'connecting' | 'live' | 'lost' | 'ended'

export interface StreamListener {
  onState(state: StreamState): void
  onPrograms(message: ProgramsMessage): void
  onHistory(message: HistoryMessage): void
  onUpdate(message: UpdateMessage): void
}

const retryMsMin = 1000
const retryMsMax = 15_000

export class LiveStream {
  readonly #listener: StreamListener
  #source: EventSource | undefined
  #retryMs = retryMsMin
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(listener: StreamListener) {
    this.#listener = listener
  }

  /** Shows `program`, or the newest one. */
  open(program?: string): void {
    this.#source?.close()
    clearTimeout(this.#timer)
    const query = program === undefined ? '' : `?program=${encodeURIComponent(program)}`
    const source = new EventSource(`live${query}`)
    this.#source = source
    const on = (name: string, listen: (data: unknown) => void): void =>
      source.addEventListener(name, event => listen(JSON.parse(event.data as string)))
    source.addEventListener('open', () => {
      this.#retryMs = retryMsMin
      this.#listener.onState('live')
    })
    on('programs', data => this.#listener.onPrograms(data as ProgramsMessage))
    on('history', data => this.#listener.onHistory(data as HistoryMessage))
    on('update', data => this.#listener.onUpdate(data as UpdateMessage))
    source.addEventListener('end', () => {
      source.close()
      this.#listener.onState('ended')
    })
    source.addEventListener('error', () => {
      // The browser's own way of trying again has no bound.
      source.close()
      this.#listener.onState('lost')
      this.#timer = setTimeout(() => this.open(program), this.#retryMs)
      this.#retryMs = Math.min(retryMsMax, this.#retryMs * 2)
    })
  }
}
