/** How blocks of a shared heap are named and held, and what is said of those that are gone. */
import { ClosedError } from '../errors.ts'

/** What a block is used for. Numbers are never given to another kind. */
export type BlockKind = number

/** Names a block in a message. It is valid until the block has been taken for something else. */
export interface BlockHandle {
  /** Of the heap, so that a handle which strays into another program is noticed. */
  heap: number
  index: number
  generation: number
  /** Where processes that do not have the heap's memory find its broker; see `broker/README.md`. */
  home?: HomeAddress
}

/** Where a broker listens, and what it wants to hear first. */
export interface HomeAddress {
  path: string
  /** 32 bytes in hexadecimal. Never in a message for people. */
  secret: string
  pid: number
}

/** A block that this process or thread holds. */
export interface HeldBlock {
  readonly handle: BlockHandle
  /** Index of its first word that belongs to its user; `PAYLOAD_WORDS` of them. */
  readonly base: number
  /** Lets go of it once; when nobody holds a block any more it may be taken for something else. */
  release(): void
}

/** For what is done for a member that has ended. */
export function memberEnded(): ClosedError {
  return new ClosedError(
    'Cannot use a shared object any more: the process or thread for which this was done has ended\n' +
      'To fix: nothing is left to be done for it',
  )
}

/** For a handle that leads nowhere. */
export function notKept(isOurs: boolean): ClosedError {
  return new ClosedError(
    'Cannot use a shared object that arrived here: ' +
      (isOurs
        ? 'nobody kept it while it was on its way, and its memory has been given to another'
        : 'it belongs to another program') +
      '\nTo fix: keep a reference to it in the process that sent it until it has arrived',
  )
}
