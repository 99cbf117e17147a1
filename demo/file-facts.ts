/** The work of the demo: reads a file and computes things about it. It runs in worker processes. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

export interface FileFacts {
  path: string
  sizeBytes: number
  sha256: string
  gzipBytes: number
  /** Runs of anything but white space, as `wc -w` counts. */
  words: number
}

export function fileFacts(path: string): FileFacts {
  const content = readFileSync(path)
  return {
    path,
    sizeBytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    gzipBytes: gzipSync(content).length,
    words: content.toString('utf8').match(/\S+/g)?.length ?? 0,
  }
}
