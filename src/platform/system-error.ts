/** Errors of system calls that the addon made, as Node.js makes them of its own. */
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'

/** The error for a failed call and its `errno`, a positive number. */
export function systemError(syscall: string, errno: number): NodeJS.ErrnoException {
  // What Node.js calls by a number of its own on Windows, C does not.
  const known = Object.entries(constants.errno).find(([, number]) => number === errno)
  const code = known?.[0] ?? getSystemErrorName(-errno)
  return Object.assign(new Error(`${code}: ${syscall} failed`), { code, errno: -errno, syscall })
}
