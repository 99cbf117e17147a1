/** Something that is done once when the event loop turns, however often it was asked for meanwhile. */
export class OncePerTurn {
  readonly #work: () => void
  #isPlanned = false

  constructor(work: () => void) {
    this.#work = work
  }

  plan(): void {
    if (this.#isPlanned) return
    this.#isPlanned = true
    setImmediate(() => {
      this.#isPlanned = false
      this.#work()
    })
  }
}
