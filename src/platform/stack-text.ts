/** Where something was called, as text, and how long that is. */

/** Not by an assignment: it throws where `Error` is frozen (`--frozen-intrinsics`). Stacks are only longer then. */
export function setStackTraceLimit(limit: number): void {
  Reflect.set(Error, 'stackTraceLimit', limit)
}

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
