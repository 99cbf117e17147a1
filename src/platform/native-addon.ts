/**
 * Finds and loads the native addon. Without it (no binary for this system, or `MULTIPROC_NATIVE=0`) everything works
 * by portable means; `nativeStatus()` says which of the two it is and why. `MULTIPROC_NATIVE` may also be the path of a
 * binary, such as one with sanitizers.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute } from 'node:path'
import { fileURLToPath } from 'node:url'

/** How a wait in the addon ended; `enum outcome` in native/wait.c has the same numbers. */
export const OUTCOME = { changed: 0, timedOut: 1, memberEnded: 2, cancelled: 3 } as const

/** What the addon exports. Offsets are bytes in the heap; 0 or a positive `errno` where a number is returned. */
export interface NativeAddon {
  open(fd: number, sizeMax: number, layout: Uint32Array, parentPid: number): number
  map(offset: number, length: number): ArrayBufferLike
  mapFile(fd: number, length: number): ArrayBufferLike
  unmap(view: Uint8Array): number
  weigh(bytes: number): void
  put(offset: number, data: Uint8Array): number
  take(offset: number, target: Uint8Array): number
  keepFreedMemory(bytes: number): void
  matches(offset: number, data: Uint8Array): boolean
  populate(offset: number, length: number): void
  reserve(offset: number, length: number): number
  reserveFile(fd: number, length: number): number
  discard(offset: number, length: number): number
  lifeWordOffset(): number
  watchLife(recordOffset: number, free: number): number
  ring(fd: number, byte: number): number
  endWithParent(pid: number, graceMs: number): number
  setAffinity(threadId: number, cpus: Uint32Array): number
  wait(
    offset: number,
    expected: number,
    timeoutMs: number,
    endsSeen: number,
    yieldMicroseconds: number,
  ): number
  yieldWhile(words: Int32Array, index: number, expected: number, microseconds: number): boolean
  wake(offset: number, count: number): number
  watch(onEnd: (id: number, outcome: number) => void): void
  startWait(offset: number, expected: number, timeoutMs: number, endsSeen: number): number
  cancelWait(id: number): void
}

/** The addon where it can keep descriptors: everywhere but on Windows. */
export interface KeeperAddon extends NativeAddon {
  openKeeper(limit: number, keptMs: number): number
  joinKeeper(door: number): void
  keepDescriptor(fd: number, owner: number): number
  fetchDescriptor(id: number): number
  releaseDescriptor(id: number): void
  duplicate(fd: number): number
  closeDescriptor(fd: number): number
  keptCount(): number
}

/** Whether the addon is used, and why not if it isn't. */
export type NativeStatus = { isOn: true; path: string } | { isOn: false; reason: string }

let loaded: { addon: NativeAddon | undefined; status: NativeStatus } | undefined

/** The addon, or `undefined`. Loaded by the first call. */
export function nativeAddon(): NativeAddon | undefined {
  return (loaded ??= load()).addon
}

export function nativeStatus(): NativeStatus {
  return (loaded ??= load()).status
}

/** For a system that refuses what the addon needs: from now on this process goes without it. */
export function giveUpNativeAddon(reason: string): void {
  loaded = { addon: undefined, status: { isOn: false, reason } }
}

function load(): { addon: NativeAddon | undefined; status: NativeStatus } {
  const without = (reason: string): { addon: undefined; status: NativeStatus } => ({
    addon: undefined,
    status: { isOn: false, reason },
  })
  const wanted = process.env['MULTIPROC_NATIVE']
  if (wanted === '0') return without('MULTIPROC_NATIVE is 0')
  const target = `${process.platform}-${process.arch}${isMusl() ? '-musl' : ''}`
  const require = createRequire(import.meta.url)
  const built = fileURLToPath(new URL(`../native/${target}.node`, import.meta.url))
  const path =
    wanted !== undefined && isAbsolute(wanted)
      ? wanted
      : existsSync(built)
        ? built
        : resolved(require, `@multiproc/${target}`)
  if (path === undefined) return without(`there is no binary for ${target}`)
  try {
    return { addon: require(path) as NativeAddon, status: { isOn: true, path } }
  } catch (error) {
    return without(`${path} cannot be loaded: ${(error as Error).message}`)
  }
}

function resolved(require: NodeJS.Require, name: string): string | undefined {
  try {
    return require.resolve(name)
  } catch {
    return undefined
  }
}

/** Whether this process runs on musl, whose binaries are others. Its report would say so too, in 10 ms. */
function isMusl(): boolean {
  if (process.platform !== 'linux') return false
  try {
    return readFileSync('/proc/self/maps', 'latin1').includes('/ld-musl-')
  } catch {
    return false
  }
}
