/** Buffers over memory that both sides have, as nodes: what such a node holds is a handle, and never the bytes. */
import { SerializeError } from '../../errors.ts'
import { handleToSend, openSharedBuffer } from '../../platform/shared-buffers.ts'
import type { EncodeOptions } from './encoding.ts'
import type { GraphNode, SharedBufferNode } from './graph-node.ts'

/** The node for a buffer; `undefined` for an ordinary one. */
export function sharedBufferNode(value: ArrayBufferLike, { attach }: EncodeOptions): GraphNode | undefined {
  const handle = handleToSend(value, { isSameProcess: attach !== undefined })
  if (handle?.kind !== 'thread') return handle && { t: 'shared-buffer', handle }
  const { kind, id, buffer } = handle
  return { t: 'shared-buffer', handle: { kind, id, attachment: attach?.(buffer) ?? -1 } }
}

/** The buffer for a node that arrived. */
export function bufferOfNode(
  handle: SharedBufferNode,
  attachments: readonly unknown[] = [],
): ArrayBufferLike {
  if (handle.kind !== 'thread') return openSharedBuffer(handle)
  const buffer = attachments[handle.attachment]
  if (buffer instanceof SharedArrayBuffer) return openSharedBuffer({ kind: 'thread', id: handle.id, buffer })
  throw new SerializeError('Cannot rebuild a value: shared memory is missing', {
    code: 'ERR_NOT_DESERIALIZABLE',
  })
}
