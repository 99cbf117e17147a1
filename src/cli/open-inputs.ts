/** Finds the inputs that the options of `multiproc map` name. */
import { createReadStream, statSync } from 'node:fs'
import { findFiles } from './file-inputs.ts'
import type { InputSource } from './map-inputs.ts'
import type { MapSettings } from './map-options.ts'
import { UsageError } from './usage-error.ts'

/** @throws UsageError when there is no such file. */
export async function openInputs({ kind, given, from }: MapSettings['input']): Promise<InputSource> {
  if (given !== undefined) {
    return kind === 'files'
      ? { list: await findFiles(given), noun: 'file' }
      : { list: given, noun: 'argument' }
  }
  if (from === undefined) return { stream: process.stdin }
  const stats = statSync(from, { throwIfNoEntry: false })
  if (stats === undefined || stats.isDirectory()) {
    throw new UsageError(
      `Cannot read inputs from "${from}": ${stats === undefined ? 'there is no such file' : 'it is a folder'}\nTo fix: name a file with --from, or "-" for standard input`,
    )
  }
  return { stream: createReadStream(from) }
}
