/** The soak itself, for seconds: that it runs, kills, finds nothing wrong, and says what it did. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Lock } from 'multiproc'
import { checkLeaks } from '../leak-check.js'
import { seed } from '../queue/random-numbers.js'
import { type Desk, Place, Violation } from './desk.js'
import { Resources } from './resources.js'
import { Round } from './round.js'

checkLeaks()

const isLinux = process.platform === 'linux'
const skip = isLinux ? false : 'it looks for what is left in /proc'
const program = fileURLToPath(new URL('../../../scripts/soak.mjs', import.meta.url))

async function soak(args: string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => (output += String(text)))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, output }
}

test('a soak of some seconds ends with 0, and says how many it has killed', { skip }, async () => {
  const { code, output } = await soak(['--minutes', '0.2', '--seed', String(seed >>> 0)])
  assert.equal(code, 0, output)
  const [, kills] = /^(\d+) kills, \d+ operations, 0 violations/m.exec(output)!
  assert.ok(Number(kills) > 0, output)
})

test('wrong options are refused, with the right ones', { skip }, async () => {
  for (const args of [
    ['--minutes', 'x'],
    ['--only', 'nothing'],
    ['--hours', '1'],
    ['--seed', '-1'],
  ]) {
    const { code, output } = await soak(args)
    assert.equal(code, 2)
    assert.match(output, /To fix: /)
  }
})

export async function takeAndSay(desk: Desk, lock: Lock): Promise<void> {
  const place = new Place(desk)
  await lock.acquire()
  place.phase = 'inside'
  throw new Violation(`${place.id} is wrong on purpose`)
}

test('what an actor finds wrong fails its round, and what a round leaves is found', { skip }, async () => {
  const resources = await Resources.begin()
  const round = new Round({ name: 'wrong', seed, method: 'spawn', kills: 1 })
  const lock = new Lock()
  round.start(takeAndSay, lock)
  await assert.rejects(round.finish(), /wrong on purpose/)
  await round.abandon()
  round.close()
  const found = await resources.leaks({ waitMs: 0 })
  assert.ok(
    found.some(text => /^\d+ blocks more than before/.test(text)),
    found.join('\n'),
  )
  assert.match(String(lock), /Lock/)
})
