/**
 * Turns the positions of generated code in a stack into those of the file that the user wrote, with the source maps
 * of the tool that generated it. Only frames that carry the mark of a rebuilt function are touched (see
 * rebuilt-scripts.ts): all others are either right already or not ours to change.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { mark, markedPosition } from './rebuilt-scripts.ts'

type SourceMap = import('node:module').SourceMap

const sourceMapUrls = new Map<string, string>()
const sourceMaps = new Map<string, SourceMap | undefined>()
const rememberedMax = 4096
const parsedMax = 256

/** Notes where the map of a script is: a `data:` URL, or one relative to the script. */
export function rememberSourceMap(url: string, sourceMapUrl: string): void {
  if (sourceMapUrls.get(url) === sourceMapUrl) return
  if (sourceMapUrls.size >= rememberedMax) sourceMapUrls.delete(sourceMapUrls.keys().next().value as string)
  sourceMapUrls.set(url, sourceMapUrl)
  sourceMaps.delete(url)
}

/**
 * Replaces the positions in code that was rebuilt in another process by those in the user's files, as far as this
 * process knows the source maps. A stack without such positions is returned as it is.
 */
export function remapStack(stack: string): string {
  if (!stack.includes(mark)) return stack
  return stack.replace(markedPosition, (marked, url: string, line: string, column: string) => {
    // Whoever sent the function to us may know more.
    if (!sourceMapUrls.has(url)) return marked
    const original = originalPosition(url, Number(line) - 1, Number(column) - 1)
    if (!original) return `${url}:${line}:${column}`
    return `${original.file}:${original.line}:${original.column}`
  })
}

/** The file, line and column (from 1) that a position (from 0) of generated code comes from. */
export function originalPosition(
  url: string,
  line: number,
  column: number,
): { file: string; line: number; column: number } | undefined {
  const entry = sourceMapOf(url)?.findEntry(line, column)
  if (!entry || !('originalSource' in entry) || !entry.originalSource) return undefined
  let file = entry.originalSource
  try {
    file = new URL(file, url).href
    if (file.startsWith('file:')) file = fileURLToPath(file)
  } catch {
    // A name that is no URL, such as webpack's: shown as it is.
  }
  return { file, line: entry.originalLine + 1, column: entry.originalColumn + 1 }
}

function sourceMapOf(url: string): SourceMap | undefined {
  if (sourceMaps.has(url)) return sourceMaps.get(url)
  const sourceMapUrl = sourceMapUrls.get(url)
  if (sourceMapUrl === undefined) return undefined
  let map: SourceMap | undefined
  try {
    const { SourceMap } = createRequire(import.meta.url)('node:module') as typeof import('node:module')
    map = new SourceMap(
      JSON.parse(readSourceMap(url, sourceMapUrl)) as ConstructorParameters<typeof SourceMap>[0],
    )
  } catch {
    // A map that is missing or broken: positions stay those of the generated code.
  }
  if (sourceMaps.size >= parsedMax) sourceMaps.delete(sourceMaps.keys().next().value as string)
  sourceMaps.set(url, map)
  return map
}

function readSourceMap(url: string, sourceMapUrl: string): string {
  if (!sourceMapUrl.startsWith('data:')) return readFileSync(new URL(sourceMapUrl, url), 'utf8')
  const comma = sourceMapUrl.indexOf(',')
  const data = sourceMapUrl.slice(comma + 1)
  return sourceMapUrl.slice(0, comma).endsWith(';base64')
    ? Buffer.from(data, 'base64').toString()
    : decodeURIComponent(data)
}
