// A library that answers with a wrong value gets this instead of a rate: its speed means nothing.

export class WrongResultError extends Error {
  /** @param {'corrupt' | 'wrong'} verdict "corrupt" when the value was changed on its way. */
  constructor(verdict, message) {
    super(message)
    this.name = 'WrongResultError'
    this.verdict = verdict
  }
}
