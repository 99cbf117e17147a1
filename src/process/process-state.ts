/**
 * What this process (or thread) knows about itself: its identity, its parent, its children, its default start
 * method. One per isolate, filled once by the child's bootstrap; the main process has the values of a new state.
 */
import { randomBytes } from 'node:crypto'
import type { ChildBoot, Nesting, StartMethod } from './child-boot.ts'
import type { ParentProcess } from './parent-process.ts'

interface ProcessState {
  name: string
  identity: readonly number[]
  isDaemon: boolean
  /** Made when first asked for, since only children and listeners need it. */
  authKey: Uint8Array | undefined
  /** The default start method, once it is fixed. */
  startMethod: StartMethod | undefined
  parent: ParentProcess | undefined
  argv: readonly string[]
  /** Children made so far; numbers the next one. */
  childCount: number
  /** Greater than 0 while modules are imported to decode what the parent sent. */
  importDepth: number
  /** Set in workers of pools, and in what these start. */
  nesting: Nesting | undefined
}

export const processState: ProcessState = {
  name: 'MainProcess',
  identity: [],
  isDaemon: false,
  authKey: undefined,
  startMethod: undefined,
  parent: undefined,
  argv: process.argv,
  childCount: 0,
  importDepth: 0,
  nesting: undefined,
}

/** Makes this process the child that `boot` describes. */
export function becomeChild(boot: ChildBoot, parent: ParentProcess): void {
  processState.name = boot.name
  processState.identity = boot.identity
  processState.isDaemon = boot.isDaemon
  processState.authKey = boot.authKey
  processState.startMethod = boot.startMethod
  processState.parent = parent
  processState.argv = boot.argv
  processState.nesting = boot.nesting
}

/** The key that authenticates connections among the processes of this program: made by the main process, inherited. */
export function getAuthKey(): Uint8Array {
  return (processState.authKey ??= randomBytes(32))
}

/** The identity of the next child of this process. */
export function nextChildIdentity(): readonly number[] {
  return [...processState.identity, ++processState.childCount]
}

/** The parent's part of a child's boot data. */
export function newChildBoot(child: {
  name: string
  identity: readonly number[]
  isDaemon: boolean
  startMethod: StartMethod
  authKey?: Uint8Array
  nesting?: Nesting
  roleData?: unknown
}): ChildBoot {
  return {
    authKey: getAuthKey(),
    nesting: processState.nesting,
    ...child,
    parentPid: process.pid,
    parentName: processState.name,
    argv: processState.argv,
  }
}

/**
 * The parent of this process, or `null` in the main process.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.parent_process
 *
 * @example
 * ```ts
 * import { parentProcess } from 'multiproc'
 *
 * console.log(parentProcess()?.name ?? 'this is the main process')
 * ```
 */
export function parentProcess(): ParentProcess | null {
  return processState.parent ?? null
}
