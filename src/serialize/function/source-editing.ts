/**
 * Writes the final text of a function that travels by value. Edits keep every line break, so that lines stay those of
 * the user's file; names that are added begin with a prefix that no identifier of the text has.
 */
import type { Edit, FunctionRecord } from './encoding.ts'
import type { VariableUse } from './function-analysis.ts'

/** The text with all edits made. */
export function applyEdits(text: string, edits: readonly Edit[]): string {
  let edited = text
  for (const { start, end, text: replacement } of [...edits].sort(
    (a, b) => b.start - a.start || b.end - a.end,
  )) {
    edited = edited.slice(0, start) + replacement + edited.slice(end)
  }
  return edited
}

/** A prefix for generated names: `$mp_`, or with a number when the text has names like that. */
export function freshPrefix(identifiers: ReadonlySet<string>): string {
  for (let attempt = 0; ; attempt++) {
    const prefix = `$mp${attempt === 0 ? '' : attempt}_`
    let isFree = true
    for (const identifier of identifiers) {
      if (identifier.startsWith(prefix)) isFree = false
    }
    if (isFree) return prefix
  }
}

/** Replaces the uses of a variable by an expression. */
export function replaceUses(
  record: FunctionRecord,
  name: string,
  uses: readonly VariableUse[],
  by: string,
): void {
  for (const { start, end, isShorthand, isCalled } of uses) {
    // A call through a member would pass the member's object as `this`.
    const expression = isCalled && by.includes('.') ? `(0,${by})` : by
    record.edits.push({ start, end, text: isShorthand ? `${name}: ${by}` : expression })
  }
}
