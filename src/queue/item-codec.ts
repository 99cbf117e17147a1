/** Items to bytes and back, for queues and pipes alike. */
import { ProcessError } from '../errors.ts'
import { unsendMessage } from '../platform/in-flight.ts'
import { decode, encode, prepare } from '../serialize/codec.ts'
import type { OutgoingItem } from './channel.ts'
import { doneWith } from './held-items.ts'
import { itemMemory } from './item-memory.ts'

/**
 * An item as bytes.
 *
 * @throws SerializeError when it cannot leave this process: to the caller, before anything is sent.
 */
export function encodeItem(value: unknown, rootName: string): Uint8Array {
  return encode(value, rootName === 'item' ? ITEM : { rootName })
}

/** An item for `outgoing()` of a channel, and nobody else. */
export function encodeOutgoing(value: unknown, rootName: string): Uint8Array {
  if (rootName === 'item') return encode(value, OUTGOING_ITEM)
  return encode(value, rootName === 'message' ? OUTGOING_MESSAGE : { rootName, largeMemory: itemMemory })
}

const ITEM = Object.freeze({ rootName: 'item' })
const OUTGOING_ITEM = Object.freeze({ rootName: 'item', largeMemory: itemMemory })
const OUTGOING_MESSAGE = Object.freeze({ rootName: 'message', largeMemory: itemMemory })

/** For an item that was not put after all: nothing is kept for it any more. */
export function letGoOf(item: OutgoingItem): void {
  if ('segment' in item) {
    item.segment.release()
    unsendMessage(item.message)
  } else unsendMessage(item)
}

/** An item from its bytes, once the modules that it needs are loaded. */
export function decodeItem(bytes: Uint8Array): unknown {
  let item: unknown
  try {
    item = rebuild(bytes)
  } catch (error) {
    doneWith(bytes)
    throw error
  }
  if (item instanceof Promise) return item.finally(() => doneWith(bytes))
  doneWith(bytes)
  return item
}

/** The item or, while modules are loaded, a promise. Whoever calls it says when the bytes are not needed any more. */
function rebuild(bytes: Uint8Array): unknown {
  const loading = prepare(bytes)
  return loading === undefined ? decode(bytes) : decodeAfter(loading, bytes)
}

/**
 * Items that were taken together. One that cannot be rebuilt fails the call if it is the first; else those before it are
 * returned. The others are not lost: `keep` gets them, for the next call.
 */
export async function decodeItems(
  taken: readonly Uint8Array[],
  keep: (left: readonly Uint8Array[]) => void,
): Promise<unknown[]> {
  const items: unknown[] = []
  for (const [index, bytes] of taken.entries()) {
    try {
      const item = rebuild(bytes)
      items.push(item instanceof Promise ? await item : item)
      doneWith(bytes)
    } catch (error) {
      if (items.length === 0) {
        doneWith(bytes)
        keep(taken.slice(index + 1))
        throw error
      }
      keep(taken.slice(index))
      break
    }
  }
  return items
}

async function decodeAfter(loading: Promise<void>, bytes: Uint8Array): Promise<unknown> {
  await loading
  return decode(bytes)
}

/** For the blocking forms, which cannot load modules: throws as long as some are missing, and has them loaded. */
export function assertNothingToLoad(bytes: Uint8Array): void {
  const loading = prepare(bytes)
  if (loading === undefined) return
  // Whoever takes the message will see what is wrong with them.
  loading.catch(() => {})
  throw new ProcessError(
    'ERR_NOT_SUPPORTED',
    'Cannot take the next item here: it needs modules that are not loaded yet, and this call cannot wait for them; ' +
      'it stays where it is\nTo fix: use the form with "await", or import the module of the class or function first',
  )
}

let operations = 0

/**
 * Lets the event loop turn now and then: a loop of `await get()` that always finds something would otherwise keep
 * timers and sockets from ever being served.
 */
export function turnNowAndThen(): Promise<void> | undefined {
  if ((++operations & 255) !== 0) return undefined
  return new Promise(resolve => setImmediate(resolve))
}
