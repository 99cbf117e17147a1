/** Two ends in one thread, for the server of a manager that is its own client: what is sent arrives in the same tick. */

/** What a link and a served client need of a connection. */
export interface ManagerConnection {
  send(bytes: Uint8Array): void
  flush(): void
  expectSoon(): void
  readonly bufferedBytes: number
  onMessage: ((bytes: Uint8Array, attachments: readonly unknown[]) => void) | undefined
  onClose: ((error?: Error) => void) | undefined
  ref(): void
  unref(): void
  close(): void
  abort(error?: Error): void
}

export class LocalConnection implements ManagerConnection {
  onMessage: ManagerConnection['onMessage'] = undefined
  onClose: ((error?: Error) => void) | undefined = undefined
  readonly bufferedBytes = 0
  #other: LocalConnection | undefined

  static pair(): [LocalConnection, LocalConnection] {
    const [one, other] = [new LocalConnection(), new LocalConnection()]
    one.#other = other
    other.#other = one
    return [one, other]
  }

  // Neither side is called while it calls the other, as with a socket.
  send(bytes: Uint8Array): void {
    process.nextTick(() => this.#other?.onMessage?.(bytes, []))
  }

  flush(): void {}

  expectSoon(): void {}

  close(): void {
    process.nextTick(() => this.abort())
  }

  abort(error?: Error): void {
    const other = this.#other
    if (other === undefined) return
    this.#other = other.#other = undefined
    process.nextTick(() => {
      this.onClose?.(error)
      other.onClose?.(error)
    })
  }

  // Nothing of it is known to the event loop: whoever waits here waits for something that is.
  ref(): void {}

  unref(): void {}
}
