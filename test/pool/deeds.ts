/** What the crash matrix does to workers, in a module that both sides import. */
import { closeSync } from 'node:fs'
import { type MessagePort, isMainThread, workerData } from 'node:worker_threads'
import { type StartMethod, registerReducer } from 'multiproc'

export const deeds = [
  'throw',
  'throw a text',
  'exit 0',
  'exit 7',
  'abort',
  'SIGKILL',
  'SIGSEGV',
  'out of memory',
  'stack overflow',
  'endless loop',
  'unsendable',
  'close the channel',
  'block the event loop',
] as const

export type Deed = (typeof deeds)[number]

/** Whether a thread cannot do it without the whole program. */
export function endsTheProgram(deed: Deed, method: StartMethod): boolean {
  return method === 'thread' && ['abort', 'SIGKILL', 'SIGSEGV'].includes(deed)
}

const dive = (depth: number): number => dive(depth + 1) + 1

/** Does it. Returns, if it does, what a task gives back. */
export function commit(deed: Deed): unknown {
  switch (deed) {
    case 'throw':
      throw new RangeError('thrown on purpose')
    case 'throw a text':
      // oxlint-disable-next-line typescript/only-throw-error -- that is what is tried
      throw 'thrown on purpose'
    case 'exit 0':
      return process.exit(0)
    case 'exit 7':
      return process.exit(7)
    case 'abort':
      return process.abort()
    case 'SIGKILL':
    case 'SIGSEGV':
      process.kill(process.pid, deed)
      // The signal arrives within this loop.
      for (;;);
    case 'out of memory': {
      // Many small objects: V8 can stop a thread that is out of memory, but not in the midst of a large allocation.
      let chain: object | undefined
      for (;;) chain = { chain }
    }
    case 'stack overflow':
      return dive(0)
    case 'endless loop':
      for (;;);
    case 'unsendable':
      return new Proxy({}, {})
    case 'close the channel':
      if (isMainThread) closeSync(3)
      else (workerData as { multiprocChannel: { port: MessagePort } }).multiprocChannel.port.close()
      return 'closed'
    // 'block the event loop'
    default: {
      const until = performance.now() + 50
      while (performance.now() < until);
      return 'blocked'
    }
  }
}

/** Does its deed where it is rebuilt. */
export class OnDecode {
  readonly deed: Deed
  constructor(deed: Deed) {
    this.deed = deed
  }
}
registerReducer<OnDecode>({
  type: OnDecode,
  name: 'test.OnDecode',
  encode: ({ deed }) => deed,
  decode: deed => commit(deed as Deed) as OnDecode,
})

/** Does its deed where it is sent. */
export class OnEncode {
  readonly deed: Deed
  constructor(deed: Deed) {
    this.deed = deed
  }
}
registerReducer<OnEncode>({
  type: OnEncode,
  name: 'test.OnEncode',
  encode: ({ deed }) => commit(deed),
  decode: given => given as OnEncode,
})

// Tasks: an item is a deed, or something harmless, which is given back.
type Item = Deed | 'harmless'

export const inTask = (item: Item): unknown => (item === 'harmless' ? item : commit(item))

export async function inAsyncTask(item: Item): Promise<unknown> {
  await new Promise(resolve => setImmediate(resolve))
  const value = inTask(item)
  // Its end is noticed while the task still waits.
  if (item === 'close the channel') await new Promise(() => {})
  return value
}

export const withArgument = (item: OnDecode | 'harmless'): unknown => item

export const withResult = (item: Item): unknown => (item === 'harmless' ? item : new OnEncode(item))

/** Returns first. */
export function afterwards(deed: Deed): void {
  setImmediate(() => commit(deed))
}

export function initialize(deed: Deed): unknown {
  return commit(deed)
}
