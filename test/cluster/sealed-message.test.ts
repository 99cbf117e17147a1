/** What a seal is for: nobody without the key makes a message, or moves one to another place. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { open, seal } from '#src/cluster/sealed-message.js'
import { seed } from '../queue/random-numbers.js'

const key = Buffer.from('a key of thirty-two bytes or more')
const frames = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 })

describe('a sealed message', () => {
  test('is opened to the same frames with the same key and subject', () => {
    fc.assert(
      fc.property(frames, fc.string(), (parts, subject) => {
        const opened = open(key, subject, seal(key, subject, parts))
        assert.deepEqual(
          opened?.map(part => [...part]),
          parts.map(part => [...part]),
        )
      }),
      { seed },
    )
  })

  test('is nothing with one bit changed, cut off, with another key, or under another subject', () => {
    fc.assert(
      fc.property(frames, fc.nat(), fc.nat(), (parts, at, cut) => {
        const message = seal(key, 'mp.t.pool.normal.session.1', parts)
        const changed = Buffer.from(message)
        changed[at % changed.length]! ^= 1 << (at % 8)
        assert.equal(open(key, 'mp.t.pool.normal.session.1', changed), undefined)
        assert.equal(
          open(key, 'mp.t.pool.normal.session.1', message.subarray(0, cut % message.length)),
          undefined,
        )
        assert.equal(open(key, 'mp.t.other.normal.session.1', message), undefined)
        assert.equal(open(key, 'mp.t.pool.normal.session.11', message), undefined)
        assert.equal(open(Buffer.from('another key'), 'mp.t.pool.normal.session.1', message), undefined)
      }),
      { seed },
    )
  })

  test('with frames that say to be longer than it is was made by a program that is broken, and is nothing', () => {
    const message = seal(key, 's', [Buffer.from('abc')])
    const content = message.subarray(32)
    content.writeUInt32LE(1000, 4)
    // Sealed as it is now, by who has the key.
    const [whole] = [seal(key, 's', [content])]
    assert.equal(open(key, 's', whole)?.length, 1)
    assert.equal(open(key, 's', message), undefined)
  })
})
