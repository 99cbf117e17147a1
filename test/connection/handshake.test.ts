/**
 * The challenge of Python 3.12: its messages to the byte, every digest, every order of lies. What follows the names of
 * CPython's tests has the cases that they check (class ChallengeResponseTest).
 */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { AuthenticationError } from 'multiproc'
import {
  type HandshakeChannel,
  answerChallenge,
  authenticateClient,
  authenticateListener,
  createResponse,
  deliverChallenge,
  newChallenge,
  verifyResponse,
} from '#src/connection/handshake.js'

const KEY = Buffer.from('the key of these tests')
const refused = { name: 'AuthenticationError', code: 'ERR_AUTHENTICATION' }

/** Two ends, each of which receives what the other sends. After `close()`, both find an end. */
class Ends {
  readonly #queues: [Buffer[], Buffer[]] = [[], []]
  readonly #waiting: [(() => void) | undefined, (() => void) | undefined] = [undefined, undefined]
  readonly sent: [string[], string[]] = [[], []]
  #isClosed = false

  end(side: 0 | 1): HandshakeChannel {
    const other = side === 0 ? 1 : 0
    return {
      send: message => {
        this.sent[side].push(Buffer.from(message).toString('latin1'))
        this.#queues[other].push(Buffer.from(message))
        this.#waiting[other]?.()
      },
      receive: async () => {
        while (this.#queues[side].length === 0) {
          if (this.#isClosed) throw new Error('closed')
          await new Promise<void>(resolve => {
            this.#waiting[side] = resolve
          })
        }
        return this.#queues[side].shift()!
      },
    }
  }

  close(): void {
    this.#isClosed = true
    for (const wake of this.#waiting) wake?.()
  }
}

/** Runs both sides; what one side throws closes the channel, as a socket would be. */
async function handshake(listenerKey: Uint8Array, clientKey: Uint8Array): Promise<[unknown, unknown, Ends]> {
  const ends = new Ends()
  const run = async (work: Promise<void>): Promise<unknown> => {
    try {
      await work
      return undefined
    } catch (error) {
      ends.close()
      return error
    }
  }
  const [listener, client] = await Promise.all([
    run(authenticateClient(ends.end(0), listenerKey)),
    run(authenticateListener(ends.end(1), clientKey)),
  ])
  return [listener, client, ends]
}

describe('the handshake', () => {
  test('with one key lets both in, in the order of messages that Python has', async () => {
    const [listener, client, { sent }] = await handshake(KEY, KEY)
    assert.deepEqual([listener, client], [undefined, undefined])
    const kinds = sent.map(messages => messages.map(text => text.slice(0, text.startsWith('#') ? 19 : 8)))
    assert.deepEqual(kinds, [
      ['#CHALLENGE#{sha256}', '#WELCOME#', '{sha256}'],
      ['{sha256}', '#CHALLENGE#{sha256}', '#WELCOME#'],
    ])
    assert.equal(sent[0][0]!.length, '#CHALLENGE#{sha256}'.length + 40)
    assert.notEqual(sent[0][0], sent[1][1])
  })

  test('C140 test_empty_authkey: with two empty keys lets both in', async () => {
    const [listener, client] = await handshake(new Uint8Array(0), new Uint8Array(0))
    assert.deepEqual([listener, client], [undefined, undefined])
  })

  test('with two keys refuses on both sides, and says so to the other', async () => {
    const [listener, client, { sent }] = await handshake(KEY, Buffer.from('another'))
    assert.ok(listener instanceof AuthenticationError)
    assert.ok(client instanceof AuthenticationError)
    assert.equal(listener.reason, 'it has another key')
    assert.equal(client.reason, 'it has another key')
    assert.equal(sent[0].at(-1), '#FAILURE#')
  })

  test('refuses a listener that welcomes everybody and does not know the key itself', async () => {
    const ends = new Ends()
    const fake = ends.end(0)
    const client = authenticateListener(ends.end(1), KEY)
    fake.send(Buffer.concat([Buffer.from('#CHALLENGE#'), newChallenge()]))
    await fake.receive()
    fake.send(Buffer.from('#WELCOME#'))
    const challenge = (await fake.receive()).subarray('#CHALLENGE#'.length)
    fake.send(createResponse(Buffer.from('guessed'), challenge))
    await assert.rejects(client, { ...refused, reason: 'it has another key' })
    assert.equal((await fake.receive()).toString(), '#FAILURE#')
  })

  test('answers nobody who did not answer before: who only listens to a listener learns nothing made with the key', async () => {
    const ends = new Ends()
    const stranger = ends.end(1)
    const listener = authenticateClient(ends.end(0), KEY)
    listener.catch(() => {})
    const challenge = await stranger.receive()
    // Its own challenge, sent back to it.
    stranger.send(challenge)
    await assert.rejects(listener, refused)
    assert.deepEqual(ends.sent[0].slice(1), ['#FAILURE#'])
  })
})

describe('C183 test_challengeresponse: a response', () => {
  for (const [name, algorithm] of [
    ['sha256', 'sha256'],
    ['sha384', 'sha384'],
    ['sha3_256', 'sha3-256'],
    ['sha3_384', 'sha3-384'],
  ] as const) {
    test(`to a challenge with ${name} is that of Python, and is verified`, () => {
      const challenge = newChallenge(name)
      const response = createResponse(KEY, challenge)
      const expected = Buffer.concat([
        Buffer.from(`{${name}}`),
        createHmac(algorithm, KEY).update(challenge).digest(),
      ])
      assert.deepEqual(response, expected)
      verifyResponse(KEY, challenge, response)
      assert.throws(() => verifyResponse(Buffer.from('other'), challenge, response), refused)
    })
  }

  test('with another digest that is accepted than that of the challenge is verified', () => {
    const challenge = newChallenge('sha256')
    const mac = createHmac('sha3-384', KEY).update(challenge).digest()
    verifyResponse(KEY, challenge, Buffer.concat([Buffer.from('{sha3_384}'), mac]))
  })

  test('to a challenge of Python 3.11 and older, or to one with MD5, is refused and says why', () => {
    const legacy = Buffer.alloc(20, 7)
    for (const challenge of [legacy, Buffer.concat([Buffer.from('{md5}'), Buffer.alloc(40)])]) {
      assert.throws(() => createResponse(KEY, challenge), {
        ...refused,
        reason: 'it uses MD5, as Python 3.11 and older do',
      })
    }
    const challenge = newChallenge()
    const response = createHmac('md5', KEY).update(challenge).digest()
    assert.throws(() => verifyResponse(KEY, challenge, response), { ...refused, reason: /MD5/ })
    const named = Buffer.concat([Buffer.from('{md5}'), response])
    assert.throws(() => verifyResponse(KEY, challenge, named), { ...refused, reason: /MD5/ })
  })

  test('to a challenge that is too short is refused', async () => {
    const ends = new Ends()
    const answered = answerChallenge(ends.end(1), KEY)
    ends.end(0).send(Buffer.from('#CHALLENGE#{sha256}'))
    await assert.rejects(answered, { ...refused, reason: 'its challenge is too short' })
  })
})

describe('whatever the other side sends', () => {
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 256 }).map(bytes => Buffer.from(bytes)),
    fc
      .constantFrom('#WELCOME#', '#FAILURE#', '#CHALLENGE#', '{sha256}', '{}', '{md5}', '')
      .map(text => Buffer.from(text)),
    fc
      .tuple(
        fc.constantFrom('#CHALLENGE#', '', '#WELCOME#'),
        fc.constantFrom('{sha256}', '{sha1}', '{md5}', '{'),
        fc.uint8Array({ maxLength: 64 }),
      )
      .map(([kind, digest, bytes]) => Buffer.concat([Buffer.from(kind + digest), Buffer.from(bytes)])),
  )

  for (const [who, work] of [
    ['a listener', authenticateClient],
    ['a client', authenticateListener],
    ['who delivers', deliverChallenge],
    ['who answers', answerChallenge],
  ] as const) {
    test(`${who} that has the key is not fooled, and ends with an AuthenticationError or the end of the channel`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(message, { maxLength: 4 }), async messages => {
          const ends = new Ends()
          for (const each of messages) ends.end(1).send(each)
          const done = work(ends.end(0), KEY)
          ends.close()
          const outcome = await done.then(
            () => 'let in',
            (error: Error) => error.name,
          )
          // Who answers only shows its own key, and believes a welcome.
          const isAnswered = work === answerChallenge && messages[1]?.toString() === '#WELCOME#'
          assert.ok(outcome !== 'let in' || isAnswered, outcome)
          assert.ok(['AuthenticationError', 'Error', 'let in'].includes(outcome), outcome)
        }),
        { numRuns: 300 },
      )
    })
  }
})
