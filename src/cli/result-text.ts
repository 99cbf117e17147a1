/** What a function returned, as one line of text. Invariant: what has no such text is an {@link InputError}, not `{}`. */

/** Something is wrong with an input or a result, and not in the user's code: its stack would tell nothing. */
export class InputError extends Error {
  override name = 'InputError'
}

/** @throws InputError for what JSON cannot say. */
export function formatResult(value: unknown, output: 'json' | 'text'): string {
  if (output === 'text') {
    if (value === undefined || value === null) return ''
    if (typeof value === 'string') return value
    if (typeof value === 'bigint') return value.toString()
  }
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (error) {
    throw new InputError(`the result cannot be written as JSON: ${(error as Error).message.split('\n')[0]}`)
  }
  // What JSON does not know (undefined, functions, symbols) is null, as it is in arrays.
  return text ?? 'null'
}
