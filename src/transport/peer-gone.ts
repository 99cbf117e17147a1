/** Tells the ordinary end of a socket from a fault: what a system says when the other side is gone. */

const PEER_GONE = new Set(['EPIPE', 'ECONNRESET', 'ENOTCONN', 'ECONNABORTED', 'EOF'])

export function isPeerGone(error: Error): boolean {
  return PEER_GONE.has((error as NodeJS.ErrnoException).code ?? '')
}
