/**
 * The stores of `carryAcross()` on their way with the calls of a pool: encoded once at the call, sent with each chunk that
 * has items of it, and let go of with the job.
 */
import { ProcessError } from '../errors.ts'
import { dropMessage, unsendMessage } from '../platform/in-flight.ts'
import { type CarriedValues, takeCarried } from '../process/carried-context.ts'
import { encode } from '../serialize/codec.ts'
import type { Job } from './job.ts'
import { type Called, atCaller } from './ship-call.ts'

const bytesMax = 64 * 1024

/**
 * The stores of this moment go with the call.
 *
 * @throws SerializeError for what cannot be sent, ProcessError `ERR_LIMIT` for what is too large. The job is discarded.
 */
export function carryWith(job: Job, called: Called): void {
  const values = takeCarried()
  if (values === undefined) return
  try {
    const bytes = encodeValues(values, called)
    job.carried = { bytes }
    job.release = () => dropMessage(bytes)
  } catch (error) {
    job.discard()
    throw error
  }
}

/** The stores of this moment in bytes, or nothing. @throws as `carryWith`. */
export function carriedBytes(called: Called): Uint8Array | undefined {
  const values = takeCarried()
  return values && encodeValues(values, called)
}

/** In one piece: nothing beside the bytes has to be kept for workers that have not read them yet. */
function encodeValues(values: CarriedValues, called: Called): Uint8Array {
  const bytes = atCaller(called, () =>
    encode(values, { rootName: 'stores of carryAcross()', isReadOften: true }),
  )
  if (bytes.byteLength <= bytesMax) return bytes
  unsendMessage(bytes)
  throw new ProcessError(
    'ERR_LIMIT',
    `Cannot carry the stores of ${Object.keys(values).join(', ')} with a call: they have ${bytes.byteLength} bytes, more than ${bytesMax}\nTo fix: keep an id in the store and the data elsewhere, or pass the data as an argument`,
  )
}
