/** The shared heap: members and their ends, blocks and their holders, and waits that cannot last for ever. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { nativeAddon } from '#src/platform/native-addon.js'
import { HEADER, MEMBERS_MAX, PAYLOAD_WORDS } from '#src/platform/heap-layout.js'
import { type SharedHeap, actAs, sharedHeap } from '#src/platform/shared-heap.js'
import type { StartMethod } from '#src/process/child-boot.js'
import { popen, type Popen } from '#src/process/popen.js'
import { newChildBoot } from '#src/process/process-state.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const heap = sharedHeap()
const KIND = 99

/** Every kind of child that shares the heap. Without the addon only threads do. */
const methods: StartMethod[] = nativeAddon() === undefined ? ['thread'] : ['spawn', 'thread']

interface Member {
  child: Popen
  token: number
  store(index: number, value: number): void
  /** Lets it write 1 and then wait for another value without a limit. */
  block(index: number): void
  end(): Promise<void>
}

async function startMember(method: StartMethod, program = 'heap-member-main'): Promise<Member> {
  const child = popen(method, {
    entry: new URL(`../fixtures/${program}.js`, import.meta.url),
    boot: newChildBoot({ name: 'member', identity: [1], isDaemon: true, startMethod: method }),
  })
  const ended = new Promise<void>(resolve => {
    child.onExit = () => resolve()
  })
  const token = await new Promise<number>(resolve => {
    child.connection.onMessage = bytes => resolve(Number(Buffer.from(bytes).toString()))
  })
  return {
    child,
    token,
    store: (index, value) => child.connection.send(Buffer.from(JSON.stringify({ index, value }))),
    block: index => child.connection.send(Buffer.from(JSON.stringify({ index, value: 1, isBlocking: true }))),
    end: () => {
      child.kill('SIGKILL')
      return ended
    },
  }
}

describe('blocks', () => {
  test('a block is all zeros, and its handle leads to it', () => {
    const block = heap.allocate(KIND)
    const words = heap.words.subarray(block.base, block.base + PAYLOAD_WORDS)
    assert.ok(words.every(word => word === 0))
    words[3] = 7
    const again = heap.attach(block.handle, KIND)
    assert.equal(again.base, block.base)
    again.release()
    block.release()
  })

  test('a block that is held is not given to anybody else', () => {
    const held = heap.allocate(KIND)
    const others = Array.from({ length: 5000 }, () => {
      const other = heap.allocate(KIND)
      assert.notEqual(other.base, held.base)
      other.release()
      return other
    })
    assert.ok(others.length > 0)
    held.release()
  })

  test('attach() rejects a block that was taken for something else, another kind and another heap', () => {
    const block = heap.allocate(KIND)
    const { handle } = block
    const closed = { code: 'ERR_CLOSED' }
    assert.throws(() => heap.attach(handle, KIND + 1), closed)
    assert.throws(() => heap.attach({ ...handle, heap: handle.heap + 1 }, KIND), closed)
    assert.throws(() => heap.attach({ ...handle, index: -1 }, KIND), closed)
    assert.throws(() => heap.attach({ ...handle, index: 1e9 }, KIND), closed)
    block.release()
    for (let taken = 0; taken < 40_000; taken++) heap.allocate(KIND).release()
    assert.throws(() => heap.attach(handle, KIND), closed)
  })

  test('allocate() says so when all blocks are in use, and works again when one is let go', () => {
    const held: { release(): void }[] = []
    assert.throws(
      () => {
        for (;;) held.push(heap.allocate(KIND))
      },
      { code: 'ERR_LIMIT' },
    )
    held.pop()!.release()
    heap.allocate(KIND).release()
    for (const block of held) block.release()
  })
})

describe('waiting', () => {
  test('waitSync() and waitAsync() end with the timeout when nothing happens', async () => {
    const block = heap.allocate(KIND)
    assert.equal(heap.waitSync(block.base, 0, 5, heap.ends), 'timedOut')
    assert.equal(await heap.waitAsync(block.base, 0, 5, heap.ends).outcome, 'timedOut')
    block.release()
  })

  test('a word that is different already is not waited for', async () => {
    const block = heap.allocate(KIND)
    assert.equal(heap.waitSync(block.base, 1, Infinity, heap.ends), 'changed')
    assert.equal(await heap.waitAsync(block.base, 1, Infinity, heap.ends).outcome, 'changed')
    block.release()
  })

  test('waitAsync() ends at a wake, and when it is cancelled', async () => {
    const block = heap.allocate(KIND)
    const woken = heap.waitAsync(block.base, 0, Infinity, heap.ends)
    const cancelled = heap.waitAsync(block.base + 1, 0, Infinity, heap.ends)
    Atomics.store(heap.words, block.base, 1)
    heap.wake(block.base)
    cancelled.cancel()
    assert.equal(await woken.outcome, 'changed')
    assert.equal(await cancelled.outcome, 'timedOut')
    block.release()
  })

  test('hundreds of waits at the same time all end', async () => {
    const block = heap.allocate(KIND)
    const waits = Array.from({ length: 300 }, () => heap.waitAsync(block.base, 0, Infinity, heap.ends))
    Atomics.store(heap.words, block.base, 1)
    heap.wake(block.base)
    for (const { outcome } of waits) assert.equal(await outcome, 'changed')
    block.release()
  })
})

for (const method of methods) {
  describe(`members (${method})`, () => {
    test('a child wakes a wait here, blocking or not', async () => {
      const member = await startMember(method)
      const block = heap.allocate(KIND)
      const wait = heap.waitAsync(block.base, 0, Infinity, heap.ends)
      member.store(block.base, 5)
      assert.equal(await wait.outcome, 'changed')
      assert.equal(heap.words[block.base], 5)
      member.store(block.base, 6)
      // A message to a thread leaves at the end of the tick.
      await new Promise(resolve => setImmediate(resolve))
      assert.equal(heap.waitSync(block.base, 5, Infinity, heap.ends), 'changed')
      block.release()
      await member.end()
    })

    test('a member that is killed is no longer alive, its place is used again, and waits notice', async () => {
      assert.ok(heap.isAlive(heap.token))
      const member = await startMember(method)
      assert.ok(heap.isAlive(member.token))
      const block = heap.allocate(KIND)
      const wait = heap.waitAsync(block.base, 0, Infinity, heap.ends)
      const ended = member.end()
      assert.equal(await wait.outcome, 'memberEnded')
      assert.ok(!heap.isAlive(member.token))
      await ended
      const next = await startMember(method)
      assert.ok(heap.isAlive(next.token))
      assert.notEqual(next.token, member.token)
      assert.ok(!heap.isAlive(member.token))
      await next.end()
      block.release()
    })
  })
}

test('a thread that blocks can be stopped', async () => {
  const member = await startMember('thread')
  const block = heap.allocate(KIND)
  member.block(block.base)
  // The word says that it has the order; to tell it that it blocks, nothing is left.
  while (Atomics.load(heap.words, block.base) === 0) await new Promise(resolve => setImmediate(resolve))
  await member.end()
  assert.ok(!heap.isAlive(member.token))
  block.release()
})

test(
  'a thread that blocks notices that a killed process was a member',
  { skip: !heap.isNative },
  async () => {
    const member = await startMember('spawn')
    const block = heap.allocate(KIND)
    process.kill(member.child.pid!, 'SIGKILL')
    // The event loop does not turn here: only the kernel can tell.
    assert.equal(heap.waitSync(block.base, 0, 10_000, heap.ends), 'memberEnded')
    assert.ok(!heap.isAlive(member.token))
    await member.end()
    block.release()
  },
)

for (const method of methods) {
  describe(`members, ${method}`, () => {
    test('who waits while the member that deals with an end is stopped does not spin', async () => {
      const block = heap.allocate(KIND)
      const stopped = await startMember(method)
      const victim = await startMember(method)
      // As if it had been stopped right after it had begun.
      Atomics.store(heap.words, HEADER.reaper, stopped.token)
      await victim.end()
      const waitsIn = async (ms: number, wait: () => unknown): Promise<number> => {
        let waits = 0
        for (const until = performance.now() + ms; performance.now() < until; waits++) await wait()
        return waits
      }
      assert.ok((await waitsIn(300, () => heap.waitSync(block.base, 0, 50, heap.ends))) < 150)
      assert.ok((await waitsIn(300, () => heap.waitAsync(block.base, 0, 50, heap.ends).outcome)) < 150)
      await stopped.end()
      assert.equal(heap.reap(), true)
      assert.equal(heap.waitSync(block.base, 0, 5, heap.ends), 'timedOut')
      block.release()
    })

    test('a record is free again when its taker ended before it was a member', async () => {
      assert.ok(heap.token > 0)
      const taker = await startMember(method, 'heap-taker-main')
      const slot = taker.token
      const other = await startMember(method)
      assert.notEqual(other.token & (MEMBERS_MAX - 1), slot)
      await taker.end()
      await other.end()
      heap.reap()
      const slots: number[] = []
      const next = [await startMember(method), await startMember(method), await startMember(method)]
      for (const each of next) slots.push(each.token & (MEMBERS_MAX - 1))
      assert.ok(slots.includes(slot), `${slots.join(', ')} without ${slot}`)
      for (const each of next) await each.end()
    })
  })
}

describe('a member for somebody who cannot be one', { skip: heap.isNative }, () => {
  test('it has a token of its own, and what is made for it belongs to it', () => {
    const member = heap.anotherMember()
    const block = actAs(member, () => sharedHeap().allocate(KIND))
    assert.equal(sharedHeap(), heap)
    assert.notEqual(member.token, heap.token)
    assert.ok(heap.isInUse(block.handle))
    member.end()
    heap.reap()
    assert.ok(!heap.isInUse(block.handle))
    assert.throws(() => member.token, { code: 'ERR_CLOSED' })
  })

  test('what it lets go of after its end is not taken from the next one in its place', () => {
    const member = heap.anotherMember()
    const shared = heap.allocate(KIND)
    const held = member.attach(shared.handle, KIND)
    const place = member.token & (MEMBERS_MAX - 1)
    member.end()
    heap.reap()
    const next = heap.anotherMember()
    const again = next.attach(shared.handle, KIND)
    assert.equal(next.token & (MEMBERS_MAX - 1), place)
    shared.release()
    held.release()
    assert.ok(heap.isInUse(again.handle))
    next.end()
    heap.reap()
    assert.ok(!heap.isInUse(again.handle))
  })

  test('one more than there are places for is refused, and all others work', () => {
    const members: SharedHeap[] = []
    const block = heap.allocate(KIND)
    try {
      assert.throws(
        () => {
          for (;;) {
            const member = heap.anotherMember()
            members.push(member)
            member.attach(block.handle, KIND)
          }
        },
        (error: { code: string; message: string }) => {
          return error.code === 'ERR_LIMIT' && /4096 places[^]*\nTo fix: /.test(error.message)
        },
      )
      assert.ok(members.length > MEMBERS_MAX / 2, String(members.length))
      // Those that are members hold the block, the last one as well as the first.
      members.pop()
      block.release()
      const last = members.pop()!
      for (const member of members) member.end()
      heap.reap()
      assert.ok(heap.isInUse(block.handle))
      assert.ok(heap.isAlive(last.token))
      last.end()
      heap.reap()
      assert.ok(!heap.isInUse(block.handle))
    } finally {
      for (const member of members) member.end()
      heap.reap()
    }
    const next = heap.anotherMember()
    assert.ok(next.token > 0)
    next.end()
    heap.reap()
  })

  test('its end wakes a thread that is blocked, whoever saw it', async () => {
    const member = heap.anotherMember()
    const { token } = member
    const block = heap.allocate(KIND)
    const wait = heap.waitAsync(block.base, 0, Infinity, heap.ends)
    member.end()
    assert.equal(await wait.outcome, 'memberEnded')
    assert.ok(!heap.isAlive(token))
    block.release()
  })
})
