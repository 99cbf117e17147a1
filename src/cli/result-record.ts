/** The lines of `--output records`: an object for every input, whatever became of it. Their names stay as they are. */
import type { GivenInput } from './map-inputs.ts'
import type { InputKind } from './map-options.ts'
import type { ItemFailure } from './map-worker.ts'

/**
 * One line of JSON: `item`, `input`, `status` ("ok" or "failed"), and `result` or `error`.
 *
 * @param line - the result as JSON
 */
export function resultRecord(
  { number, text }: GivenInput,
  { kind, line, failure }: { kind: InputKind; line: string | null; failure: ItemFailure | undefined },
): string {
  const input = kind === 'json' || kind === 'csv' ? jsonInput(text) : JSON.stringify(text)
  const start = `{"item":${number},"input":${input},"status":`
  return failure === undefined
    ? `${start}"ok","result":${line}}`
    : `${start}"failed","error":${JSON.stringify(failure.error)}}`
}

/** The value of an input, and what is no JSON as a string. */
function jsonInput(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return JSON.stringify(text)
  }
}
