/**
 * How the handle of a channel travels. Without the addon its ring lies in memory of its own: threads get it beside the
 * message; for other processes the broker of this one is told of it, and the handle says where that is.
 */
import { publishMemory } from '../broker/home.ts'
import { memoryOf } from '../broker/published-memory.ts'
import { withHome } from '../broker/shareable.ts'
import { holdForMessages } from '../platform/heap-objects.ts'
import type { Receiver } from '../serialize/reducers.ts'
import { Channel, type ChannelHandle } from './channel.ts'

/** What is sent in the place of a channel. */
export function channelToSend({ block, memory }: ChannelHandle, receiver: Receiver): ChannelHandle {
  if (memory === undefined) return { block: withHome(block, receiver) }
  if (receiver.isSameProcess) return { block, memory }
  publishMemory(block, memory)
  return { block: withHome(block, receiver) }
}

/** Whether the memory of a channel can be had here. */
export function hasChannelMemory({ block, memory }: ChannelHandle): boolean {
  return block.home === undefined || memory !== undefined || memoryOf(block) !== undefined
}

/** The channel for a handle whose memory can be had here. */
export function attachChannel({ block, memory }: ChannelHandle): Channel {
  const own = memory ?? memoryOf(block)
  return Channel.attach(own === undefined ? { block } : { block, memory: own })
}

/** Holds a channel that is held here once more, for messages: until neither its owner nor a message has it any more. */
export function holdChannel(handle: ChannelHandle): object {
  const channel = Channel.attach(handle)
  return holdForMessages(() => channel.release())
}
