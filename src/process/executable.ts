/** Which program runs a child process: this process's own Node.js unless `setExecutable()` named another. */
import { fileURLToPath } from 'node:url'
import { invalidArgument } from '../errors.ts'

let executable: string | undefined

/**
 * Sets the Node.js executable that starts child processes (start method `spawn`) from now on. Threads always run
 * in this process.
 *
 * @param path - a path or a name to look up in `PATH`, as a string, bytes, or a `file:` URL
 * @throws TypeError for anything else
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.set_executable
 *
 * @example
 * ```ts
 * import { setExecutable } from 'multiproc'
 *
 * setExecutable('/opt/node-24/bin/node')
 * ```
 */
export function setExecutable(path: string | Uint8Array | URL): void {
  if (path instanceof URL) executable = fileURLToPath(path)
  else if (typeof path === 'string' && path !== '') executable = path
  else if (path instanceof Uint8Array && path.length > 0) executable = Buffer.from(path).toString()
  else {
    throw invalidArgument(
      TypeError,
      'Cannot set the executable: expected a path as a string, bytes or a file URL, got ' +
        `${path === '' ? 'an empty string' : typeof path}\n` +
        'To fix: pass process.execPath, or the path of another Node.js',
    )
  }
}

export function getExecutable(): string {
  return executable ?? process.execPath
}
