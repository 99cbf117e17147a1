/**
 * A program that shares state: what it does is its argument. It says "ready" when it has begun, and on its own lines what
 * became of it.
 */
import { appendFileSync, writeSync } from 'node:fs'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { connectState } from 'multiproc/cluster'

const say = (line: string): void => void writeSync(1, `${line}\n`)

const state = await connectState({ cluster: process.env['CLUSTER_URL']!, name: process.env['CLUSTER_POOL']! })
const [, , what, name = 'it', count = '0'] = process.argv
switch (what) {
  case 'hold': {
    // Until it is killed or told to go on by a line, which may be after a stop.
    const held = await state.Lock(name, { lease: 1000 }).guard({ recover: true })
    held.signal.addEventListener('abort', () => say('lost'))
    say(`token ${held.token}`)
    const keepAlive = setInterval(() => {}, 1000)
    for await (const _ of createInterface(process.stdin)) {
      say(`isLost ${held.isLost}`)
      await held.release().catch((error: { code: string }) => say(error.code))
      clearInterval(keepAlive)
      process.exit(0)
    }
    break
  }
  case 'permit': {
    const permit = await state.Semaphore(name, Number(count), { lease: 1000 }).guard({ recover: true })
    say(`token ${permit.token}`)
    // Until it is killed.
    await once(process.stdin.resume(), 'close')
    break
  }
  case 'wait-for-lock': {
    say('ready')
    await state.Lock(name, { lease: 1000 }).guard({ recover: true })
    break
  }
  case 'hand-over': {
    // Has the lock again and again, until it is killed.
    const lock = state.Lock(name, { lease: 1000 })
    say('ready')
    for (;;) {
      const held = await lock.guard({ recover: true })
      // The order in the file is that of the holders.
      appendFileSync(count, `${held.token}\n`)
      await held.release().catch(() => {})
    }
  }
  case 'increment': {
    const counts = state.dict<string, number>(name)
    say('ready')
    for (let done = 0; done < Number(count); done++) await counts.update('n', (n = 0) => n + 1)
    say('done')
    break
  }
  case 'barrier': {
    const waiting = state.Barrier(name, Number(count), { lease: 1000 }).wait()
    say('ready')
    say(`index ${await waiting}`)
    break
  }
  case 'take': {
    const queue = state.Queue<number>(name)
    say('ready')
    for await (const item of queue) say(`item ${item}`)
    break
  }
  default:
    throw new Error(`This program does not know ${what}`)
}
await state.close()
