/**
 * The way from the root of a payload to a value in it, for error messages. It is made for every object that is sent,
 * so it holds only the step, and words are found when an error needs them.
 */
import { SerializeError } from '../../errors.ts'

export class Trail {
  readonly parent: Trail | undefined
  private readonly step: PropertyKey | { text: string }
  /** Where in the user's files the step is: `/app/images.ts:12`. */
  readonly place: string | undefined
  /** The value was reached through a variable that a function captured, not as data that the caller passed. */
  readonly isCaptured: boolean

  constructor(
    parent: Trail | undefined,
    step: PropertyKey | { text: string },
    options: { place?: string | undefined; isCaptured?: boolean } = {},
  ) {
    this.parent = parent
    this.step = step
    this.place = options.place
    this.isCaptured = options.isCaptured ?? parent?.isCaptured ?? false
  }

  /** The way to a property. */
  to(key: PropertyKey): Trail {
    return new Trail(this, key)
  }

  /** The way to something that has no key: `map value 3`. */
  toPart(text: string, options?: { place?: string | undefined; isCaptured?: boolean }): Trail {
    return new Trail(this, { text }, options)
  }

  /** All steps from the root on: `['function f', 'captured variable "cfg"', '.db']`. */
  steps(options: { withPlaces?: boolean } = {}): string[] {
    const steps: string[] = []
    let parent = this.parent
    steps.push(this.describe(options))
    while (parent) {
      steps.push(parent.describe(options))
      parent = parent.parent
    }
    return steps.reverse()
  }

  private describe(options: { withPlaces?: boolean }): string {
    const { step, place } = this
    if (typeof step === 'object') return options.withPlaces && place ? `${step.text} (${place})` : step.text
    if (typeof step === 'symbol') return `[${String(step)}]`
    const text = String(step)
    if (/^\d+$/.test(text)) return `[${text}]`
    return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(text) ? `.${text}` : `[${JSON.stringify(text)}]`
  }

  /**
   * The error for the value at the end of the way. `problem` goes on with the sentence ("is a Proxy, which ..."), and
   * `fix` says what to do. Neither may contain a value of the user's.
   */
  error(problem: string, fix: string): SerializeError {
    const [root = 'the value', ...rest] = this.steps({ withPlaces: true })
    const where = rest.length > 0 ? rest.join(' -> ') : 'it'
    return new SerializeError(`Cannot send ${root} to another process: ${where} ${problem}\nTo fix: ${fix}`, {
      path: this.steps(),
    })
  }
}
