/** sharedArray(): typed arrays that travel as a handle, by every way, and whose memory is there until they arrive. */
import assert from 'node:assert/strict'
import { fstatSync } from 'node:fs'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Pool, Process, SharedMemory, type StartMethod, rawArray, sharedArray } from 'multiproc'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { encode } from '#src/serialize/codec.js'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const heap = sharedHeap()
const methods: StartMethod[] = heap.isNative ? ['spawn', 'thread'] : ['thread']
const MIB = 1 << 20

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}

/** The memory that the heap takes up now. */
function usedBytes(): number {
  return fstatSync(heap.fd!).blocks * 512
}

for (const context of methods) {
  describe(context, () => {
    test('a child that was already running writes into an array that is its argument', async () => {
      await using pool = new Pool({ processes: 1, context })
      await pool.apply(() => 0)
      const numbers = sharedArray(Float64Array, 1000)
      await pool.apply((array: Float64Array) => void array.fill(0.5), [numbers])
      assert.ok(numbers.every(each => each === 0.5))
    })

    test('a captured array is the same memory in the child, also in an object and in a helper', async () => {
      await using pool = new Pool({ processes: 1, context })
      const direct = sharedArray(Int32Array, 4)
      const state = { inner: { array: sharedArray(Int32Array, 4) } }
      const helper = (): void => {
        state.inner.array[1] = 2
      }
      await pool.apply(() => {
        direct[0] = 1
        helper()
      })
      assert.deepEqual([...direct], [1, 0, 0, 0])
      assert.deepEqual([...state.inner.array], [0, 2, 0, 0])
    })

    test('views of all kinds show the same bytes on both sides, at the same place', async () => {
      await using pool = new Pool({ processes: 1, context })
      const bytes = sharedArray(Uint8Array, 64)
      const views = {
        part: bytes.subarray(8, 16),
        numbers: new Float64Array(bytes.buffer, 16, 2),
        big: new BigInt64Array(bytes.buffer, 32, 1),
        data: new DataView(bytes.buffer, 40, 8),
        buffer: Buffer.from(bytes.buffer, 48, 8),
        whole: bytes.buffer,
      }
      const facts = await pool.apply(
        (there: typeof views) => {
          there.part.fill(1)
          there.numbers[1] = Math.PI
          there.big[0] = -5n
          there.data.setInt16(2, 300)
          there.buffer.write('hello')
          new Uint8Array(there.whole)[63] = 9
          const { part, numbers, big, data, buffer, whole } = there
          const buffers = [part.buffer, numbers.buffer, big.buffer, data.buffer, buffer.buffer]
          return {
            isOneBuffer: buffers.every(each => each === whole),
            isBuffer: Buffer.isBuffer(buffer),
            places: [part, numbers, big, data, buffer].map(view => [view.byteOffset, view.byteLength]),
          }
        },
        [views],
      )
      assert.deepEqual([...views.part], [1, 1, 1, 1, 1, 1, 1, 1])
      assert.equal(views.numbers[1], Math.PI)
      assert.equal(views.big[0], -5n)
      assert.equal(views.data.getInt16(2), 300)
      assert.equal(views.buffer.toString('latin1', 0, 5), 'hello')
      assert.equal(bytes[63], 9)
      assert.deepEqual(facts, {
        isOneBuffer: true,
        isBuffer: true,
        places: [
          [8, 8],
          [16, 16],
          [32, 8],
          [40, 8],
          [48, 8],
        ],
      })
    })

    test('what arrives twice is one buffer, and what comes home is the array itself', async () => {
      await using pool = new Pool({ processes: 1, context })
      const numbers = sharedArray(Int16Array, 10)
      const seen = await pool.apply(
        async (array: Int16Array) => {
          const global = globalThis as { seen?: ArrayBufferLike }
          const isSame = global.seen === array.buffer
          global.seen = array.buffer
          return isSame
        },
        [numbers],
      )
      assert.equal(seen, false)
      const again = await pool.apply(
        (array: Int16Array) => (globalThis as { seen?: ArrayBufferLike }).seen === array.buffer,
        [numbers.subarray(2)],
      )
      assert.equal(again, true)
      const home = await pool.apply((array: Int16Array) => array.subarray(1, 3), [numbers])
      assert.equal(home.buffer, numbers.buffer)
      assert.equal(home.byteOffset, 2)
      assert.equal(home.length, 2)
    })

    test('a Process returns an array of its own, and ends before anybody looks at it', async () => {
      const child = new Process({ context, target: () => sharedArray(Int32Array, [1, 2, 3]) })
      child.start()
      await child.join()
      assert.deepEqual([...(await child.result())], [1, 2, 3])
    })

    test('arrays of no elements, of every type, and of values arrive as they are', async () => {
      await using pool = new Pool({ processes: 1, context })
      const arrays = [
        sharedArray(Float64Array, 0),
        sharedArray(Int8Array, [-1, 2]),
        sharedArray(Uint8ClampedArray, [300, 2]),
        sharedArray(BigInt64Array, [2n ** 62n, -1n]),
        sharedArray(BigUint64Array, new Set([2n ** 63n])),
        sharedArray(Float32Array, Float64Array.of(0.5, 1.5)),
        rawArray('H', [1, 65_535]),
      ]
      const back = await pool.apply((there: typeof arrays) => there, [arrays])
      assert.deepEqual(back, arrays)
      for (const [index, array] of arrays.entries()) assert.equal(back[index]!.buffer, array.buffer)
    })

    test('a thousand results whose only reference was in the worker arrive with their own contents', async () => {
      await using pool = new Pool({ processes: 2, context })
      const make = (value: number): Int32Array => {
        const array = sharedArray(Int32Array, 2048)
        array.fill(value)
        return array
      }
      // What the worker drops is collected at once, and its memory is there for the next result.
      await pool.map(() => {
        process.getBuiltinModule('node:v8').setFlagsFromString('--expose-gc')
        const gc = process.getBuiltinModule('node:vm').runInNewContext('gc') as () => void
        setInterval(() => gc(), 1).unref()
      }, range(4))
      let wrong = 0
      for (const first of range(10)) {
        const values = range(100).map(index => first * 100 + index)
        const arrays = await pool.map(make, values, { chunkSize: 10 })
        for (const [index, array] of arrays.entries()) {
          if (array.length !== 2048 || array.some(each => each !== values[index])) wrong++
        }
        collectGarbage()
      }
      assert.equal(wrong, 0)
    })

    test('a SharedMemory object and a view of its bytes are the same memory in the child', async () => {
      await using pool = new Pool({ processes: 1, context })
      using memory = new SharedMemory({ size: 100 })
      const view = new Uint16Array(memory.buffer, 50, 2)
      await pool.apply(
        (there: SharedMemory, bytes: Uint16Array) => {
          there.buf[0] = 7
          bytes[1] = 300
          there.close()
        },
        [memory, view],
      )
      assert.equal(memory.buf[0], 7)
      assert.equal(view[1], 300)
    })
  })
}

describe('in one process', () => {
  test('elements are zero at first, also where the memory was used before', async () => {
    for (let round = 0; round < 20; round++) {
      const array = sharedArray(Uint8Array, 5000)
      assert.ok(array.every(each => each === 0))
      array.fill(255)
      if (round % 5 === 4) {
        collectGarbage()
        await new Promise(resolve => setImmediate(resolve))
      }
    }
  })

  test('the buffer has exactly the bytes of the array, and starts at a page', () => {
    const array = sharedArray(Float64Array, 3)
    assert.equal(array.byteOffset, 0)
    assert.equal(array.buffer.byteLength, 24)
    assert.equal(array.buffer instanceof SharedArrayBuffer || array.buffer instanceof ArrayBuffer, true)
    assert.equal(Atomics.add(sharedArray(Int32Array, 1), 0, 3), 0)
  })

  test('two arrays never show the same memory', () => {
    const arrays = range(50).map(value => sharedArray(Int32Array, 1500).fill(value))
    for (const [value, array] of arrays.entries()) assert.ok(array.every(each => each === value))
  })

  test('lengths and types that make no sense are refused', () => {
    for (const length of [-1, 1.5, NaN, Infinity]) {
      assert.throws(() => sharedArray(Int8Array, length), {
        code: 'ERR_INVALID_ARGUMENT',
        name: 'RangeError',
      })
    }
    for (const type of [Array, Buffer, DataView, 'i', undefined]) {
      assert.throws(() => sharedArray(type as never, 1), { code: 'ERR_INVALID_ARGUMENT', name: 'TypeError' })
    }
    assert.throws(() => sharedArray(Int8Array, {} as never), { code: 'ERR_INVALID_ARGUMENT' })
    assert.throws(() => sharedArray(BigInt64Array, [1]), TypeError)
    assert.throws(() => rawArray('x' as never, 1), { code: 'ERR_INVALID_ARGUMENT' })
  })
})

/** Elsewhere memory stays with the program, and there is no file to measure it by. */
describe('with the addon on Linux', { skip: !heap.isNative || process.platform !== 'linux' }, () => {
  test('more than the machine has is an error that says so, and nothing is left of the attempt', () => {
    const before = usedBytes()
    for (const length of [2 ** 36, 2 ** 45, 2 ** 50]) {
      assert.throws(() => sharedArray(Uint8Array, length), { code: 'ERR_LIMIT' })
    }
    assert.equal(usedBytes(), before)
    assert.equal(sharedArray(Uint8Array, 10).length, 10)
  })

  test('the memory of arrays that nobody has any more is used again', async () => {
    const before = usedBytes()
    for (let round = 0; round < 40; round++) {
      sharedArray(Uint8Array, 16 * MIB)[0] = 1
      await new Promise(resolve => setImmediate(resolve))
    }
    await eventually(() => {
      collectGarbage()
      return usedBytes() <= before + 64 * MIB
    })
  })

  test('what a killed child had to itself is given back, and what it shared stays', async () => {
    const shared = sharedArray(Int32Array, 1000)
    const before = usedBytes()
    const child = new Process({
      context: 'spawn',
      target: async () => {
        const own = sharedArray(Uint8Array, 100 * MIB)
        shared[0] = own.length
        Atomics.store(shared, 1, 1)
        await new Promise(resolve => setInterval(resolve, 2 ** 30))
      },
    })
    child.start()
    await eventually(() => Atomics.load(shared, 1) === 1)
    assert.ok(usedBytes() >= before + 100 * MIB)
    child.kill()
    await child.join()
    await eventually(() => {
      heap.reap()
      return usedBytes() < before + 10 * MIB
    })
    assert.equal(shared[0], 100 * MIB)
  })
})

describe('without the addon', { skip: heap.isNative }, () => {
  test('a shared array cannot go to another process, and the error says why', async () => {
    await using pool = new Pool({ processes: 1, context: 'spawn' })
    const array = sharedArray(Int32Array, 1)
    assert.throws(() => pool.apply((there: Int32Array) => there.length, [array]), {
      code: 'ERR_NOT_SUPPORTED',
    })
    assert.throws(() => pool.apply(() => array.length), { code: 'ERR_NOT_SUPPORTED' })
  })
})

test('an array in a message that could not be written is collected like any other', async () => {
  let collected = 0
  const registry = new FinalizationRegistry<number>(() => collected++)
  const attempt = (): void => {
    const array = sharedArray(Int32Array, 10)
    registry.register(array.buffer, 1)
    assert.throws(() => encode([array, Promise.resolve()], { attach: () => undefined }), {
      code: 'ERR_NOT_SERIALIZABLE',
    })
  }
  attempt()
  await eventually(() => {
    collectGarbage()
    return collected > 0
  })
})
