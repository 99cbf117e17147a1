/**
 * What is as good as another machine for the network: a namespace of Linux, with a line to this one that can be cut so
 * that packets vanish without a word. Namespaces of tests that were killed are removed by the next test.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'

const PREFIX = 'multiproc-'
const FOLDER = '/run/netns'
/** An address of nobody: frames to it are dropped by who receives them, and nothing comes back. */
const NOWHERE = '02:00:00:00:00:01'

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** For tests that need one. */
export function needsMachines(): { skip: string | false } {
  if (process.platform !== 'linux') return { skip: 'needs namespaces of Linux' }
  const name = `${PREFIX}${process.pid}-probe`
  const { status, stderr, error } = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8' })
  if (error) return { skip: 'needs the command "ip": apt-get install iproute2' }
  if (status !== 0) return { skip: `needs the right to make network namespaces: ${stderr.trim()}` }
  const line = spawnSync('ip', ['-n', name, 'link', 'add', 'name', 'one', 'type', 'veth'])
  ip('netns', 'del', name)
  return { skip: line.status === 0 ? false : 'needs the right to make virtual network devices' }
}

/** Of processes that have ended. */
function removeLeft(): void {
  if (!existsSync(FOLDER)) return
  for (const name of readdirSync(FOLDER)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) ip('netns', 'del', name)
  }
}

let made = 0

export class OtherMachine implements Disposable {
  readonly #name: string
  readonly #device: string
  /** This machine, as the other one sees it. */
  readonly host: string
  readonly #own: string
  readonly #addresses: { here: string; there: string }

  constructor() {
    removeLeft()
    const number = made++
    this.#name = `${PREFIX}${process.pid}-${number}`
    // Names of devices have 15 characters at most.
    this.#device = `mp${process.pid}x${number}`
    // A net of two addresses out of a range for tests of networks, other ones for other processes.
    const net = ((process.pid % 4096) * 8 + number) * 4
    const address = (last: number): string =>
      [198, 18 + ((net >> 16) & 1), (net >> 8) & 255, (net & 255) + last].join('.')
    this.host = address(1)
    this.#own = address(2)
    ip('netns', 'add', this.#name)
    ip('link', 'add', 'name', this.#device, 'type', 'veth', 'peer', 'name', 'line', 'netns', this.#name)
    ip('address', 'add', `${this.host}/30`, 'dev', this.#device)
    ip('link', 'set', this.#device, 'up')
    ip('-n', this.#name, 'address', 'add', `${this.#own}/30`, 'dev', 'line')
    ip('-n', this.#name, 'link', 'set', 'line', 'up')
    ip('-n', this.#name, 'link', 'set', 'lo', 'up')
    const [, here] = /link\/ether (\S+)/.exec(ip('link', 'show', this.#device))!
    const [, there] = /link\/ether (\S+)/.exec(ip('-n', this.#name, 'link', 'show', 'line'))!
    this.#addresses = { here: here!, there: there! }
    this.mend()
  }

  /** What starts a program there. */
  get command(): string[] {
    return ['ip', 'netns', 'exec', this.#name]
  }

  /** From now on nothing arrives, in both directions, and nobody is told. */
  cut(): void {
    this.#point(NOWHERE, NOWHERE)
  }

  mend(): void {
    this.#point(this.#addresses.here, this.#addresses.there)
  }

  #point(here: string, there: string): void {
    ip('neighbour', 'replace', this.#own, 'lladdr', there, 'dev', this.#device, 'nud', 'permanent')
    const toHere = [this.host, 'lladdr', here, 'dev', 'line', 'nud', 'permanent']
    ip('-n', this.#name, 'neighbour', 'replace', ...toHere)
  }

  /** The line goes with it. */
  [Symbol.dispose](): void {
    ip('netns', 'del', this.#name)
  }
}
