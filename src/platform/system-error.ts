/** Errors of system calls that the addon made, as Node.js makes them of its own. */
import { getSystemErrorName } from 'node:util'

/** The error for a failed call and its `errno`, a positive number. */
export function systemError(syscall: string, errno: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(-errno)
  return Object.assign(new Error(`${code}: ${syscall} failed`), { code, errno: -errno, syscall })
}
