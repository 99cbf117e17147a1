/**
 * The signal inside the writer that a value needs the graph encoder. It is caught in `codec.ts` and never seen by
 * a caller.
 */

/** Thrown when the fast path meets what only a code graph can carry. One object: its stack is of no use. */
export const NEEDS_GRAPH = new Error(
  'This is a bug in multiproc, please report it: NEEDS_GRAPH was not caught',
)
