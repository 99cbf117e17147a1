/** Pipe: whole messages in order, and the end of the file after the death of the other side. */
import { ClosedError, Pipe, type PipeConnection } from 'multiproc'
import { ACTORS_MAX, type Desk, Place, Violation } from '../desk.js'
import type { Actor, Round, Scenario } from '../round.js'
import { openWords, type WordsHandle } from '../words.js'

const PAIRS = 2

interface Shared {
  connection: PipeConnection<Uint8Array>
  /** By actor: how many messages it has surely sent, or received. */
  done: WordsHandle
}

/** A message is its number and as many bytes as the number says. */
function message(number: number): Uint8Array {
  const length = number % 50 === 7 ? 100_000 + number : 8 + ((number * 37) % 900)
  const bytes = new Uint8Array(length).fill(number & 255)
  new DataView(bytes.buffer).setInt32(0, number)
  return bytes
}

export async function sendMessages(desk: Desk, { connection, ...handles }: Shared): Promise<void> {
  const place = new Place(desk)
  const done = openWords(handles.done)
  for (let number = 0; !place.isStopped; number++) {
    place.phase = 'waiting'
    try {
      if (place.random(2) === 0) connection.sendSync(message(number))
      else await connection.send(message(number))
    } catch (error) {
      // The receiver was killed.
      if (error instanceof ClosedError) break
      throw error
    }
    done.store(place.id, number + 1)
    place.phase = 'between'
    place.count()
    await place.work()
  }
  connection.close()
}

export async function receiveMessages(desk: Desk, { connection, ...handles }: Shared): Promise<void> {
  const place = new Place(desk)
  const done = openWords(handles.done)
  for (let number = 0; ; number++) {
    place.phase = 'waiting'
    let bytes: Uint8Array
    try {
      bytes = place.random(2) === 0 ? connection.recvSync() : await connection.recv()
    } catch (error) {
      if (error instanceof ClosedError) break
      throw error
    }
    place.phase = 'inside'
    const expected = message(number)
    if (Buffer.compare(bytes, expected) !== 0) {
      throw new Violation(`Message ${number} of ${expected.length} bytes came as ${bytes.length} bytes`)
    }
    done.store(place.id, number + 1)
    place.count()
    if (place.random(4) === 0) await place.work()
  }
  connection.close()
}

export const pipes: Scenario = {
  name: 'pipes',
  isNativeOnly: false,
  async run(round: Round) {
    const done = round.words(ACTORS_MAX)
    const begin = (): [Actor, Actor] => {
      const [receiving, sending] = Pipe<Uint8Array>({ duplex: round.random(2) === 0 })
      const pair: [Actor, Actor] = [
        round.start(sendMessages, { connection: sending, done }),
        round.start(receiveMessages, { connection: receiving, done }),
      ]
      // The actors have them now, or will have: the death of one is the end of the file for the other.
      sending.close()
      receiving.close()
      return pair
    }
    const pairs = Array.from({ length: PAIRS }, begin)
    for (let kill = 0; kill < round.plannedKills; kill++) {
      const which = round.random(PAIRS)
      const pair = pairs[which]!
      const side = round.random(2)
      await round.chooseMoment(pair[side]!)
      pairs[which] = begin()
      round.kill(pair[side]!)
      await checkEnd(round, pair, side, done)
    }
    round.table.stop()
    for (const pair of pairs) await checkEnd(round, pair, 2, done)
    await round.finish()
  },
}

/** One side was killed (0: who sends, 1: who receives, 2: nobody): the other one ends, and has what was sent. */
async function checkEnd(
  round: Round,
  pair: [Actor, Actor],
  killed: number,
  handle: WordsHandle,
): Promise<void> {
  const [sender, receiver] = pair
  await round.within('both ends of a pipe to end', Promise.all(pair.map(each => each.ended)))
  const done = openWords(handle)
  const sent = done.load(sender.id)
  const received = done.load(receiver.id)
  // One more may have been sent than the sender could say.
  const isRight =
    killed === 1 ? received <= sent + 1 : received === sent || (killed === 0 && received === sent + 1)
  if (!isRight) round.fail(`${received} messages were received of ${sent}`)
}
