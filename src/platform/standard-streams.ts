/**
 * Standard streams that may be closed or broken: children start and write all the same, as they do in Python when
 * `sys.stdout` is gone.
 */
import { getSystemErrorName } from 'node:util'
import { factsOf } from './file-facts.ts'

/** `inherit` for an open descriptor of this process, `ignore` for a closed one (which no child can inherit). */
export function inheritOrIgnore(fd: number): 'inherit' | 'ignore' {
  // On Windows a closed one is no error, and an open one may be a handle that the C runtime does not count as one.
  if (process.platform === 'win32') return 'inherit'
  try {
    factsOf(fd)
    return 'inherit'
  } catch {
    return 'ignore'
  }
}

function ignoreError(): void {}

/**
 * Writes to stdout or stderr of this process. A stream that is closed or whose reader is gone swallows the text:
 * an error there, unheard, would end the process that only forwards it.
 */
export function writeOrIgnore(
  stream: NodeJS.WriteStream,
  chunk: string | Uint8Array,
  done?: () => void,
): void {
  if (stream.destroyed || !stream.writable) {
    done?.()
    return
  }
  stream.once('error', ignoreError)
  stream.write(chunk, () => {
    // The 'error' event of a failed write comes after its callback.
    setImmediate(() => stream.removeListener('error', ignoreError))
    done?.()
  })
}

/** The name of a system error number, such as `EAGAIN`. */
export function systemErrorName(error: unknown): string | undefined {
  const { code, errno } = error as NodeJS.ErrnoException
  return code ?? (typeof errno === 'number' ? getSystemErrorName(errno) : undefined)
}
