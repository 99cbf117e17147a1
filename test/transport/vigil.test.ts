/** Vigils end by a message or by their time, and those in vain become rare. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cpuCount } from 'multiproc'
import { Vigil } from '#src/transport/vigil.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const options = { skip: cpuCount() < 2 && 'with one processor there are no vigils' }

/** Holds a vigil to its end in vain. Returns how often it has looked, or `undefined` when the chance is passed over. */
async function holdInVain(
  vigil: Vigil,
  ends: { onInVain?: () => void; looks: number },
): Promise<number | undefined> {
  ends.looks = 0
  if (!vigil.begin()) return undefined
  await new Promise<void>(resolve => {
    ends.onInVain = resolve
  })
  return ends.looks
}

test('a vigil looks at every turn of the event loop, and ends by itself', options, async () => {
  const ends: { onInVain?: () => void; looks: number } = { looks: 0 }
  const vigil = new Vigil({ look: () => ends.looks++, onInVain: () => ends.onInVain?.() })
  assert.ok((await holdInVain(vigil, ends))! > 0)
  assert.equal(vigil.isOn, false)
})

test(
  'after vigils in vain ever more chances are passed over, until a message comes during one',
  options,
  async () => {
    const ends: { onInVain?: () => void; looks: number } = { looks: 0 }
    const vigil = new Vigil({ look: () => ends.looks++, onInVain: () => ends.onInVain?.() })
    const passedOver: number[] = []
    for (let round = 0; round < 9; round++) {
      let count = 0
      while ((await holdInVain(vigil, ends)) === undefined) count++
      passedOver.push(count)
    }
    assert.deepEqual(passedOver, [0, 0, 1, 3, 7, 15, 31, 63, 63])
    while (!vigil.begin());
    vigil.met()
    assert.equal(vigil.isOn, false)
    assert.equal(typeof (await holdInVain(vigil, ends)), 'number')
    assert.equal(typeof (await holdInVain(vigil, ends)), 'number')
    assert.equal(await holdInVain(vigil, ends), undefined)
  },
)

test('a vigil that is met may begin again within the same turn', options, async () => {
  let rounds = 0
  await new Promise<void>(resolve => {
    const vigil = new Vigil({
      look: () => {
        vigil.met()
        if (++rounds < 5) assert.ok(vigil.begin())
        else resolve()
      },
    })
    vigil.begin()
  })
  assert.equal(rounds, 5)
})
