/** Where something was called, as text. */

/**
 * The stack of an error, or of what `Error.captureStackTrace()` was given; `undefined` where a program has set
 * `Error.prepareStackTrace` and makes something else of stacks.
 */
export function stackText(of: { stack?: unknown } | undefined): string | undefined {
  try {
    const stack = of?.stack
    return typeof stack === 'string' ? stack : undefined
  } catch {
    return undefined
  }
}
