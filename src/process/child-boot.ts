/**
 * What a child is told about itself: the first frame on its connection, plain JSON, so that a child of another
 * Node.js version reads it too and nothing of the user's is decoded before the child knows who it is.
 */

import type { RingEnd } from '../transport/ring-connection.ts'

/** How a child is started: as a process (`spawn`) or as a thread of this process. */
export type StartMethod = 'spawn' | 'thread'

/** How deep in pools a process is, and how many workers its own pools may have; see pool/nesting.ts. */
export interface Nesting {
  /** How many workers of pools there are among this process and its ancestors. */
  depth: number
  workersMax: number
}

/** The identity of a child and what its entry file needs. */
export interface ChildBoot {
  name: string
  /** Numbers of the ancestors and of this child: `[1, 2]` is the second child of the first child of main. */
  identity: readonly number[]
  isDaemon: boolean
  /** Also the default start method of the child's own children. */
  startMethod: StartMethod
  parentPid: number
  parentName: string
  authKey: Uint8Array
  /** `process.argv` of the main program. */
  argv: readonly string[]
  /** Absent outside of pools. */
  nesting?: Nesting | undefined
  /** Plain JSON data for the entry file. */
  roleData?: unknown
  /** The shared heap, as `passDescriptor()` names it to the child; set by `popen()`. */
  sharedHeapFd?: number | undefined
  /** The descriptor of the door of the keeper of descriptors in the child; set by `popen()`. */
  keeperFd?: number | undefined
  /** Where the rings of the connection are; without, its frames travel over the socket. Set by `popen()`. */
  ring?: RingEnd | undefined
}

export function encodeBoot(boot: ChildBoot): Uint8Array {
  return Buffer.from(JSON.stringify({ ...boot, authKey: Buffer.from(boot.authKey).toString('base64') }))
}

export function decodeBoot(bytes: Uint8Array): ChildBoot {
  const fields = JSON.parse(Buffer.from(bytes).toString()) as Omit<ChildBoot, 'authKey'> & { authKey: string }
  return { ...fields, authKey: Buffer.from(fields.authKey, 'base64') }
}
