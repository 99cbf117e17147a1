// The clock of every row.

/** Milliseconds until what `action` returns has settled, and its value. */
export async function timeOf(action) {
  const start = performance.now()
  const value = await action()
  return { ms: performance.now() - start, value }
}
