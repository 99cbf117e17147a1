/**
 * Modules of programs that an agent has fetched, as files that its workers import. They are in a folder of the user, for
 * all agents of this machine, by their SHA-256. Invariant: a file is there whole or not at all, is what its name says when
 * it is given to a worker, and there are a hundred at most, whoever was killed.
 */
import { randomBytes } from 'node:crypto'
import {
  existsSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { privateFolder } from '../platform/private-folder.ts'
import { type StoredPayload, hashOf } from './payload-store.ts'
import { type NamedBundle, codeName } from './work-message.ts'

const filesMax = 100
const hashes = /^[0-9a-f]{64}$/

export class BundleFolder {
  /** Those that this agent has looked at. */
  readonly #seen = new Map<string, Promise<string | undefined>>()
  #hasWarned = false

  /** The URL of the file, or `'gone'` when nobody has it any more; `undefined` where files cannot be kept. */
  async get(
    bundle: NamedBundle,
    fetch: (stored: StoredPayload) => Promise<Uint8Array | undefined>,
  ): Promise<string | undefined> {
    const { hash } = bundle
    if (!hashes.test(hash)) return 'gone'
    const known = this.#seen.get(hash)
    if (known) {
      const path = await known
      // All who asked at once are told.
      if (path === 'gone') return 'gone'
      if (path === undefined || existsSync(path)) return path && pathToFileURL(path).href
    }
    const found = this.#fetch(bundle, fetch)
    this.#seen.set(hash, found)
    if (this.#seen.size > filesMax) this.#seen.delete(this.#seen.keys().next().value!)
    try {
      const file = await found
      if (file !== 'gone') return file && pathToFileURL(file).href
      this.#seen.delete(hash)
      return 'gone'
    } catch (error) {
      this.#seen.delete(hash)
      throw error
    }
  }

  async #fetch(
    { hash, byteLength }: NamedBundle,
    fetch: (stored: StoredPayload) => Promise<Uint8Array | undefined>,
  ): Promise<string | undefined> {
    const folder = privateFolder('multiproc-bundles', { isMade: true })
    if (folder === undefined) {
      this.#warn('it belongs to somebody else', 'remove it, or set TMPDIR')
      return undefined
    }
    const path = join(folder, `${hash}.mjs`)
    if (contentHash(path) === hash) {
      // The newest stay.
      utimesSync(path, new Date(), new Date())
      return path
    }
    const bytes = await fetch({ name: codeName(hash), hash, byteLength })
    if (bytes === undefined) return 'gone'
    const unfinished = join(folder, `${randomBytes(8).toString('hex')}.new`)
    try {
      writeFileSync(unfinished, bytes, { mode: 0o600 })
      renameSync(unfinished, path)
      removeOldest(folder)
      return path
    } catch (error) {
      rmSync(unfinished, { force: true })
      this.#warn(`it cannot be written to (${(error as Error).message})`, 'make room there, or set TMPDIR')
      return undefined
    }
  }

  #warn(why: string, advice: string): void {
    if (this.#hasWarned) return
    this.#hasWarned = true
    process.emitWarning(
      `The agent has no place for the bundles of programs: as to the folder multiproc-bundles among the temporary files, ${why}\nTo fix: ${advice} to a folder of this user`,
      'ClusterWarning',
    )
  }
}

function contentHash(path: string): string | undefined {
  try {
    return hashOf(readFileSync(path))
  } catch {
    return undefined
  }
}

/** Also what somebody left who was killed while it wrote. */
function removeOldest(folder: string): void {
  const files = readdirSync(folder).flatMap(name => {
    const path = join(folder, name)
    // Another agent may remove it at the same time.
    const facts = statSync(path, { throwIfNoEntry: false })
    return facts ? [{ path, atMs: facts.mtimeMs }] : []
  })
  const oldest = files.toSorted((one, other) => other.atMs - one.atMs).slice(filesMax)
  for (const { path } of oldest) rmSync(path, { force: true })
}
