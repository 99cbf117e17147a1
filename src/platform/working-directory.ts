/** The directory that relative names begin at, also when somebody has removed it. */

/**
 * The working directory, or `undefined` when it does not exist any more: `process.cwd()` throws then. A program whose
 * directory was removed (a deployment, a temporary one) goes on, and so do its children, unless they ask for it.
 */
export function workingDirectory(): string | undefined {
  try {
    return process.cwd()
  } catch {
    return undefined
  }
}
