/** What connections between programs say when they end, or something does not fit. */
import { ClosedError, ProcessError } from '../errors.ts'

export function endOfFile(): ClosedError {
  return new ClosedError(
    'EOF: nothing is left, and the other side has closed the connection or ended\n' +
      'To fix: stop receiving when this error comes, or iterate over the connection',
  )
}

export function brokenBy(error: Error): Error {
  if (error instanceof ProcessError) return error
  return new ClosedError(
    `The connection broke: ${error.message}\nTo fix: see that the other side runs and can be reached, and connect again`,
    { cause: error },
  )
}

export function notTaken(cause: Error): ClosedError {
  return new ClosedError(
    'Cannot send through the connection: the other side has closed it or ended\n' +
      'To fix: stop sending when this error comes, and connect again',
    { cause },
  )
}

export function tooLong(byteLength: number, why: string): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `The message has ${byteLength} bytes, and ${why}; it stays in the connection\nTo fix: allow more, or receive it without a limit`,
  )
}
