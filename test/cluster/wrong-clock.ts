/** Makes `Date` of this process wrong by some milliseconds, as after a wrong clock was set. */
const TrueDate = Date

export function setClock(offsetMs: number): void {
  globalThis.Date = class extends TrueDate {
    constructor(...args: [] | [number]) {
      if (args.length === 0) super(TrueDate.now() + offsetMs)
      else super(...args)
    }

    static override now(): number {
      return TrueDate.now() + offsetMs
    }
  } as DateConstructor
}
