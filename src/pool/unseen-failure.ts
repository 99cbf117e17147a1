/**
 * Failures that nobody looks at do not end the program, but they are told: when the result that holds one is collected
 * as garbage, a warning says so. Invariant: nothing here keeps a result.
 */

let unseen: FinalizationRegistry<string> | undefined

/** The result has failed, and nobody has asked for it so far. */
export function noteUnseen(result: object, reason: unknown): void {
  unseen ??= new FinalizationRegistry(text => {
    process.emitWarning(`A task failed and nobody looked at its result: ${text}`, 'UnseenFailureWarning')
  })
  const text = reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason)
  unseen.register(result, text, result)
}

/** Somebody asks for the result. */
export function noteSeen(result: object): void {
  unseen?.unregister(result)
}
