/** What connections to processes say in the same words, whether their frames travel over a socket or through rings. */
import { ClosedError } from '../errors.ts'

/** The other side went away between two bytes of a frame. */
export function endedInsideMessage(): ClosedError {
  return new ClosedError(
    'The connection ended in the middle of a message: the process on the other side died while it wrote\nTo fix: see how that process ended',
  )
}

/** Objects that only threads can be given. */
export function attachmentsRefused(): TypeError {
  return new TypeError(
    'Cannot attach objects to a message for another process: only threads share memory and ' +
      'message ports\n' +
      'To fix: use the start method "thread", or send the data itself',
  )
}
