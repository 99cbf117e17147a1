/** The option `bundle` of a pool on a cluster: modules that its agents get as files, because they do not have them. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { ProcessError, invalidArgument } from '../errors.ts'
import { noteBundle } from '../serialize/bundles.ts'
import { show } from './option-checks.ts'

/** A bundle of a pool. */
export interface Bundle {
  readonly hash: string
  /** Where the program has it. */
  readonly url: string
  readonly byteLength: number
  /** Absent: it was stored by another program. */
  readonly bytes: Uint8Array | undefined
}

const bundlesMax = 8
const bytesMax = 64 << 20

/** @throws TypeError or RangeError, ProcessError `ERR_NOT_FOUND` for a file that cannot be read. */
export function checkBundles(given: unknown): Bundle[] {
  if (given === undefined || given === null) return []
  const files: unknown[] = Array.isArray(given) ? given : [given]
  if (files.length > bundlesMax) {
    throw invalidArgument(
      RangeError,
      `The option "bundle" has ${files.length} files, but ${bundlesMax} are allowed\nTo fix: bundle them into one`,
    )
  }
  return files.map(readBundle)
}

function readBundle(file: unknown): Bundle {
  const url = urlOf(file)
  let bytes: Buffer
  try {
    bytes = readFileSync(fileURLToPath(url))
  } catch (cause) {
    throw new ProcessError(
      'ERR_NOT_FOUND',
      `Cannot read the bundle ${fileURLToPath(url)} (${(cause as Error).message})\nTo fix: pass the path of a file, such as { bundle: './dist/tasks.mjs' }`,
      { cause },
    )
  }
  if (bytes.length === 0 || bytes.length > bytesMax) {
    throw invalidArgument(
      RangeError,
      `The bundle ${fileURLToPath(url)} has ${bytes.length} bytes, but it must have 1 to ${bytesMax}\nTo fix: leave data out of it`,
    )
  }
  const hash = createHash('sha256').update(bytes).digest('hex')
  noteBundle({ hash, url, place: url })
  return { hash, url, byteLength: bytes.length, bytes }
}

function urlOf(file: unknown): string {
  if (file instanceof URL && file.protocol === 'file:' && file.pathname.endsWith('.mjs')) return file.href
  if (typeof file === 'string' && file.endsWith('.mjs'))
    return file.startsWith('file:') ? new URL(file).href : pathToFileURL(resolve(file)).href
  throw invalidArgument(
    TypeError,
    `The option "bundle" must be the path or URL of a file that ends in .mjs, or several, but it is ${show(file)}\nTo fix: bundle the module of your tasks with what it imports, for example: npx esbuild tasks.ts --bundle --platform=node --format=esm --outfile=dist/tasks.mjs`,
  )
}
