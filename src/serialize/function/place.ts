/** Where a piece of code is, in the words of an error message: `/app/images.ts:12`. */
import { fileURLToPath } from 'node:url'
import type { Script } from './script-table.ts'
import { originalPosition } from './stack-remapping.ts'

export function placeIn(script: Script | undefined, offset: number): string | undefined {
  if (!script?.url) return undefined
  const { line, column } = script.positionAt(offset)
  const original = script.sourceMapUrl ? originalPosition(script.url, line, column) : undefined
  if (original) return `${original.file}:${original.line}`
  let file = script.url
  try {
    if (file.startsWith('file:')) file = fileURLToPath(file)
  } catch {
    // Not a path of this system: shown as a URL.
  }
  return `${file}:${line + 1}`
}
