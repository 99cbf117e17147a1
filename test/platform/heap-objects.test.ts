/** Objects that stand for blocks: one for each block, and a block is let go with its object. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { handleOf, objectFor, openBlock } from '#src/platform/heap-objects.js'
import { type BlockHandle, sharedHeap } from '#src/platform/shared-heap.js'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const KIND = 97

class Thing {
  readonly isNew: boolean
  constructor() {
    this.isNew = openBlock(this, KIND).isNew
  }
}

const thingFor = (handle: BlockHandle): Thing => objectFor(handle, KIND, () => new Thing())
/** Not inlined into a test, so that nothing there refers to the object. */
const handleOfNew = (): BlockHandle => handleOf(new Thing())

test('a handle leads to the object that is here, as long as there is one', () => {
  const thing = new Thing()
  assert.ok(thing.isNew)
  assert.equal(thingFor(handleOf(thing)), thing)
  assert.throws(() => objectFor(handleOf(thing), KIND + 1, () => new Thing()), { code: 'ERR_CLOSED' })
})

test('a block is let go when its object has been collected, and can be attached until it is used again', async () => {
  const heap = sharedHeap()
  const handle = handleOfNew()
  await eventually(() => {
    collectGarbage()
    return !thingFor(handle).isNew
  })
  await eventually(() => {
    collectGarbage()
    // Every block that nobody holds is taken once.
    for (let taken = 0; taken < 40_000; taken++) heap.allocate(KIND + 1).release()
    try {
      heap.attach(handle, KIND).release()
      return false
    } catch {
      return true
    }
  })
})

test('what is no handle, and what was not constructed, is refused', () => {
  for (const wrong of [undefined, null, 1, {}, { heap: 1, index: 'x', generation: 2 }]) {
    assert.throws(() => objectFor(wrong, KIND, () => new Thing()), { code: 'ERR_NOT_DESERIALIZABLE' })
  }
  assert.throws(() => handleOf(Object.create(Thing.prototype) as Thing), { code: 'ERR_CLOSED' })
})
