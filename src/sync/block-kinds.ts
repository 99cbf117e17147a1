/** What the blocks of this layer are used for. A number is never given to another kind; other layers have their own. */
export const BLOCK_KINDS = {
  lock: 0x5301,
  rlock: 0x5302,
  semaphore: 0x5303,
  boundedSemaphore: 0x5304,
  condition: 0x5305,
  event: 0x5306,
  barrier: 0x5307,
  /** More entries for the ledger of another block. */
  ledger: 0x5308,
} as const
