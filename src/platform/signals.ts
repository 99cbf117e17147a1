/** Signal names and numbers of this system. */
import { constants } from 'node:os'

/** The number of a signal, as in Python's negative exit codes: `SIGKILL` is 9. */
export function signalNumber(signal: NodeJS.Signals): number {
  return constants.signals[signal]
}

/** The name of a signal number, or `undefined` when this system has none. */
export function signalName(number: number): NodeJS.Signals | undefined {
  for (const [name, value] of Object.entries(constants.signals)) {
    if (value === number) return name as NodeJS.Signals
  }
  return undefined
}
