/** SharedMemory with and without names, sharedArray: contents are right as long as somebody has them, then all is given back. */
import { ClosedError, Queue, SharedMemory, sharedArray } from 'multiproc'
import { type Desk, Place, Violation } from '../desk.js'
import type { Round, Scenario } from '../round.js'

const ACTORS = 4
const BYTES_MAX = 1_500_000
const WAITING_MAX = 10

interface Parcel {
  mark: number
  array: Uint8Array | SharedMemory
}

interface Shared {
  parcels: Queue<Parcel>
  /** Names begin with it. */
  tag: string
}

function bytesOf(array: Uint8Array | SharedMemory): Uint8Array {
  return array instanceof SharedMemory ? array.buf : array
}

function make(place: Place, tag: string): Parcel {
  const length = 1 + place.random(place.random(8) === 0 ? BYTES_MAX : 20_000)
  const kind = place.random(3)
  const mark = 1 + place.random(255)
  const array =
    kind === 0
      ? sharedArray(Uint8Array, length)
      : new SharedMemory({
          create: true,
          size: length,
          ...(kind === 2 ? { name: `${tag}-${place.id}-${place.random(2 ** 30)}` } : {}),
        })
  const bytes = bytesOf(array)
  if (bytes.some(byte => byte !== 0)) throw new Violation('New memory is not zero')
  bytes.fill(mark)
  return { mark, array }
}

export async function exchangeMemory(desk: Desk, { parcels, tag }: Shared): Promise<void> {
  const place = new Place(desk)
  let kept: Parcel[] = []
  while (!place.isStopped) {
    const parcel = make(place, tag)
    kept.push(parcel)
    place.phase = 'waiting'
    if (parcels.qsize() < WAITING_MAX) await parcels.put(parcel)
    place.phase = 'inside'
    const arrived = place.random(2) === 0 ? await parcels.get({ timeout: 2 }).catch(nothing) : undefined
    if (arrived !== undefined) {
      const wrong = bytesOf(arrived.array).findIndex(byte => byte !== arrived.mark)
      if (wrong >= 0) throw new Violation(`Byte ${wrong} is not ${arrived.mark}`)
      if (arrived.array instanceof SharedMemory) arrived.array.close()
      place.count()
    }
    if (kept.length > 5) {
      for (const { array } of kept) {
        if (!(array instanceof SharedMemory)) continue
        if (array.name !== undefined) array.unlink()
        array.close()
      }
      kept = []
    }
    place.phase = 'between'
    await place.work()
  }
  for (const { array } of kept) {
    if (!(array instanceof SharedMemory)) continue
    if (array.name !== undefined) array.unlink()
    array.close()
  }
}

/** Nothing was there, or it went with its owner: a name is removed when the one that made it ends or unlinks it. */
function nothing(error: { code?: string }): undefined {
  if (['ERR_QUEUE_EMPTY', 'ERR_NOT_FOUND'].includes(error.code!) || error instanceof ClosedError)
    return undefined
  throw error
}

export const memory: Scenario = {
  name: 'memory',
  isNativeOnly: true,
  async run(round: Round) {
    const shared: Shared = { parcels: new Queue<Parcel>(), tag: round.tag }
    await round.disturb(ACTORS, () => round.start(exchangeMemory, shared))
    await round.finish()
    shared.parcels.close()
  },
}
