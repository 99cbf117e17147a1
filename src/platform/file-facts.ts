/**
 * What the system says of a file or descriptor that may be a socket or a pipe.
 *
 * Node.js before 24 keeps what it is told by `stat()` in one array, and its `realpathSync()` looks there without having
 * asked: after a socket or a pipe it gives symbolic links back as they are. A package behind a link, as with pnpm and
 * `npm link`, would then be loaded a second time, under another URL. Numbers as bigint have an array of their own.
 */
import { type BigIntStats, type PathLike, fstatSync, statSync } from 'node:fs'

/** @throws the error of the system, when there is no such file or descriptor */
export function factsOf(file: PathLike | number): BigIntStats {
  return typeof file === 'number' ? fstatSync(file, { bigint: true }) : statSync(file, { bigint: true })
}
