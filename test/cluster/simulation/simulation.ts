/**
 * Programs, agents and a server, whose whole story follows from a seed: who is killed, stopped or cut off, and when. At the
 * end it is checked that every item had one outcome, that who is said to have died has, that bounds were kept, and that
 * nothing is left.
 */
import assert from 'node:assert/strict'
import { aheadMax } from '#src/cluster/look-ahead.js'
import { ClusterError } from 'multiproc'
import { PoolNames } from '#src/cluster/names.js'
import type { ClusterSettings } from '#src/pool/cluster-option.js'
import { randomNumbers } from '../../queue/random-numbers.js'
import { type AgentEvents, type Fate, SimulatedAgent } from './simulated-agent.js'
import type { Network } from './simulated-client.js'
import type { Items } from './simulated-items.js'
import { type ProgramOptions, SimulatedProgram } from './simulated-program.js'
import { SimulatedServer } from './simulated-server.js'
import { VirtualTime } from './virtual-time.js'

export interface SimulationOptions extends ProgramOptions {
  seed: number
  agents: number
  processes: number
  programs: number
  itemMs: number
  /** All take the same time. */
  isEven?: boolean
  latencyMs: number
  jitterMs: number
  leaseMs: number
  inlineBytesMax: number
  /** Milliseconds between two faults; 0 for none. */
  faultEveryMs: number
  /** What goes wrong beside that, and when. */
  planned?: { fault: Fault; atMs: number; cutMs?: number }[]
  /** Nothing goes wrong but the network of a single program: then nothing has to be run twice. */
  isGentle: boolean
  /** Of so many items one ends its worker, the first time it is run. 0: none. */
  workerDeathEvery: number
  /** One item of each program ends every agent that runs it. */
  isPoisoned: boolean
}

export interface SimulationOutcome {
  virtualMs: number
  events: number
  faults: Record<string, number>
  chunks: number
  /** The most that one program had with the cluster at a time. */
  openMax: number
  heldMax: number
  messages: number
  bytes: number
}

const DELIVERIES_MAX = 5
/** Then nothing more goes wrong, so that everything has to end. */
const FAULTS_MS_MAX = 300_000
/** In virtual time; everything has to end long before. */
const MS_MAX = 2 * 3600_000

export const FAULTS = [
  'server killed',
  'server killed and forgetful',
  'agent killed',
  'agent stopped',
  'agent cut shortly',
  'agent cut for long',
  'program cut shortly',
  'program cut for long',
  'program killed',
  'queue emptied',
] as const

export type Fault = (typeof FAULTS)[number]

class Story implements AgentEvents, Disposable {
  readonly time = new VirtualTime()
  readonly server = new SimulatedServer(this.time)
  readonly faults: Record<string, number> = {}
  readonly agents: SimulatedAgent[] = []
  readonly programs: SimulatedProgram[] = []
  readonly #leaving: SimulatedAgent[] = []
  readonly #options: SimulationOptions
  readonly #random: (limit: number) => number
  readonly #network: Network
  readonly #settings: ClusterSettings
  readonly #names = new PoolNames('simulated')
  readonly #emitWarning = process.emitWarning
  readonly #deadOf = new Set<number>()
  /** Of each item, by whichever program. */
  readonly #runs: Uint16Array
  #agentNumber = 0
  #isEnding = false
  agentDeaths = 0

  constructor(options: SimulationOptions) {
    this.#options = options
    this.#random = randomNumbers(options.seed)
    this.#runs = new Uint16Array(options.items)
    // What is wrong is told by the story, and warnings are a part of it.
    process.emitWarning = () => {}
    const { latencyMs, jitterMs } = options
    this.#network = { time: this.time, server: this.server, random: this.#random, latencyMs, jitterMs }
    this.#settings = {
      poolName: 'simulated',
      servers: ['nats://simulated:4222'],
      key: Buffer.from('a key of thirty-two bytes or more'),
      credentials: undefined,
      tls: undefined,
      nkey: undefined,
      inboxPrefix: '_INBOX',
      leaseMs: options.leaseMs,
      deliveriesMax: DELIVERIES_MAX,
      replicas: 1,
      connectionMsMax: 60_000,
      firstConnectionMsMax: 5000,
      agentMsMax: 600_000,
    }
  }

  [Symbol.dispose](): void {
    process.emitWarning = this.#emitWarning
    this.time[Symbol.dispose]()
  }

  begin(): void {
    const { agents, programs, faultEveryMs, planned = [] } = this.#options
    for (const { fault, atMs, cutMs } of planned) this.time.at(atMs, () => this.#doHarm(fault, cutMs))
    for (let number = 0; number < agents; number++) this.#addAgent()
    for (let number = 0; number < programs; number++) this.#addProgram()
    if (faultEveryMs > 0) this.#planFault()
  }

  #addAgent(): void {
    const { processes, inlineBytesMax } = this.#options
    const name = `agent${this.#agentNumber++}`
    const agent = new SimulatedAgent(this.#network, { name, processes, events: this })
    this.agents.push(agent)
    agent.open(this.#settings, inlineBytesMax).catch((error: unknown) => {
      // It could not reach the server for too long, and is started again.
      if (!(error instanceof ClusterError)) throw error
      agent.kill()
    })
  }

  #addProgram(): void {
    const program = new SimulatedProgram(this.#network, this.#options)
    this.programs.push(program)
    const open = (): void => {
      program.open(this.#settings, this.#options.inlineBytesMax).catch((error: unknown) => {
        // It could not reach the server for too long, and is started again.
        if (error instanceof ClusterError && !program.isKilled) open()
        else program.error ??= error as Error
      })
    }
    open()
  }

  // ---- What happens to items ----

  itemMs(): number {
    const { itemMs, isEven = false } = this.#options
    if (isEven) return itemMs
    // Some are very long, so that what was fetched behind them is given back.
    return this.#random(50) === 0 ? itemMs * 40 : itemMs * (0.5 + this.#random(1000) / 1000)
  }

  fateOf(item: number): Fate {
    const { workerDeathEvery, isPoisoned, items } = this.#options
    if (isPoisoned && item === items >> 1) return 'agent dies'
    if (workerDeathEvery > 0 && item % workerDeathEvery === 3) return 'worker dies'
    return 'result'
  }

  onRun({ first, count }: Items): void {
    for (let item = first; item < first + count; item++) this.#runs[item]!++
  }

  onWorkerDeath(item: number): void {
    this.#deadOf.add(item)
  }

  /** Somebody starts it again. */
  onAgentDeath(agent: SimulatedAgent): void {
    this.agentDeaths++
    const at = this.agents.indexOf(agent)
    // It was leaving, and another one has its place.
    if (at < 0) return
    this.agents.splice(at, 1)
    this.time.after(this.#random(3000), () => {
      if (!this.#isEnding) this.#addAgent()
    })
  }

  // ---- Faults ----

  #planFault(): void {
    this.time.after(1 + this.#random(2 * this.#options.faultEveryMs), () => {
      if (this.isOver || this.time.nowMs > FAULTS_MS_MAX) return
      const faults = FAULTS.filter(fault => !this.#options.isGentle || fault.startsWith('program cut'))
      this.#doHarm(faults[this.#random(faults.length)]!)
      this.#planFault()
    })
  }

  #any<T>(all: readonly T[]): T | undefined {
    return all.length === 0 ? undefined : all[this.#random(all.length)]
  }

  #doHarm(fault: Fault, plannedCutMs?: number): void {
    const agent = this.#any(this.agents)
    const program = this.#any(this.programs.filter(each => !each.hasEnded))
    const cutMs =
      plannedCutMs ?? (fault.endsWith('shortly') ? this.#random(3000) : 8000 + this.#random(20_000))
    switch (fault) {
      case 'server killed':
      case 'server killed and forgetful': {
        if (!this.server.isUp) return
        this.server.kill()
        if (fault.endsWith('forgetful'))
          for (const stream of this.server.streams.values()) stream.forgetAcknowledged(this.time.nowMs - 200)
        for (const each of [...this.agents, ...this.programs]) each.client.lose()
        this.time.after(this.#random(8000), () => (this.server.isUp = true))
        break
      }
      case 'agent killed':
        agent?.kill()
        break
      case 'agent stopped': {
        if (!agent || this.agents.length < 2) return
        this.agents.splice(this.agents.indexOf(agent), 1)
        this.#leaving.push(agent)
        void agent.stop()
        this.#addAgent()
        break
      }
      case 'agent cut shortly':
      case 'agent cut for long':
        agent?.client.cut()
        this.time.after(cutMs, () => agent?.client.mend())
        break
      case 'program cut shortly':
      case 'program cut for long':
        program?.client.cut()
        this.time.after(cutMs, () => program?.client.mend())
        break
      case 'program killed':
        // One goes on to the end.
        if (program === this.programs[0]) return
        program?.kill()
        break
      case 'queue emptied':
        // Seldom: it is the work of people.
        if (this.#random(5) > 0 || !this.server.isUp) return
        this.server.streams.get(this.#names.tasks)?.purge({})
        break
    }
    this.faults[fault] = (this.faults[fault] ?? 0) + 1
  }

  // ---- The end ----

  get isOver(): boolean {
    return this.programs.every(program => program.hasEnded || program.error !== undefined)
  }

  check(): void {
    const { items, processes } = this.#options
    for (const program of this.programs) {
      if (program.isKilled) continue
      if (program.error) throw program.error
      for (let item = 0; item < items; item++) {
        const [results, deaths] = [program.results[item]!, program.deaths[item]!]
        assert.equal(results + deaths, 1, `The item ${item} has ${results} results, and died ${deaths} times`)
        // Faults take agents with them; who was with them so often is said to have died.
        const mayDie = this.fateOf(item) !== 'result' || this.#agentsLost >= DELIVERIES_MAX
        assert.ok(deaths === 0 || mayDie, `The item ${item} has not died`)
        assert.ok(deaths === 1 || this.fateOf(item) === 'result', `The item ${item} has died`)
        assert.ok(deaths === 0 || this.fateOf(item) !== 'worker dies' || this.#deadOf.has(item))
      }
      assert.ok(program.openMax <= program.chunksMaxHeard, `${program.openMax} chunks were open`)
    }
    if (this.#options.isGentle) {
      const twice = this.#runs.findIndex(count => count > 1)
      assert.equal(twice, -1, `The item ${twice} ran ${this.#runs[twice]} times`)
    }
    for (const agent of this.agents) {
      // Each level may bring as many as there was room for.
      assert.ok(agent.heldMax <= 3 * aheadMax * processes, `${agent.name} had ${agent.heldMax} chunks`)
    }
    for (const { config, largest } of this.server.streams.values())
      assert.ok(largest <= (config.max_msgs ?? Infinity))
  }

  /** How often at most a delivery came to nothing without an answer. */
  get #agentsLost(): number {
    const faults = Object.entries(this.faults).filter(([name]) => /server|cut|agent/.test(name))
    return faults.reduce((sum, [, count]) => sum + count, this.agentDeaths)
  }

  /** Nobody is left, and nothing of them. */
  async end(): Promise<void> {
    this.#isEnding = true
    for (const agent of [...this.agents, ...this.#leaving]) agent.kill()
    for (const program of this.programs) program.client.kill()
    // What still waits for an answer has its end.
    await this.time.run(() => this.time.timers.size === 0, this.time.nowMs + 120_000)
    const stacks = Array.from(this.time.timers, ({ stack }) => stack ?? '(SIMULATION_STACKS=1 tells whose)')
    assert.equal(stacks.length, 0, `${stacks.length} timers are left: ${[...new Set(stacks)].join('\n')}`)
  }

  outcome(): SimulationOutcome {
    const { taken, given, bytes } = this.server.counts
    const sum = (of: (program: SimulatedProgram) => number): number =>
      this.programs.reduce((total, program) => total + of(program), 0)
    return {
      virtualMs: this.time.nowMs,
      events: this.time.events,
      faults: this.faults,
      chunks: sum(program => program.sentChunks),
      openMax: Math.max(...this.programs.map(program => program.openMax)),
      heldMax: Math.max(0, ...this.agents.map(agent => agent.heldMax)),
      messages: taken + given,
      bytes,
    }
  }
}

/** For who measures. */
export interface SimulationListeners {
  /** All are there, and there is no work yet. */
  onEmpty?: () => void
  /** A program has as much with the cluster as it may. */
  onFull?: () => void
}

/** Plays one story to its end. @throws AssertionError when something is not as it must be. */
export async function simulate(
  options: SimulationOptions,
  { onEmpty, onFull }: SimulationListeners = {},
): Promise<SimulationOutcome> {
  using story = new Story(options)
  story.begin()
  if (onEmpty && onFull) {
    await story.time.run(() => story.programs.some(({ isOpen }) => isOpen), MS_MAX)
    onEmpty()
    // As many as the program may have with the cluster once it has heard of all agents.
    const chunksMax = 2 * options.agents * options.processes
    await story.time.run(() => story.programs[0]!.openMax >= chunksMax || story.isOver, MS_MAX)
    onFull()
  }
  const isOver = await story.time.run(() => story.isOver, MS_MAX)
  assert.ok(isOver, `It has not ended after ${story.time.nowMs} ms`)
  story.check()
  const outcome = story.outcome()
  await story.end()
  return outcome
}

/** A small story of which everything follows from the seed. */
export function storyOf(seed: number): SimulationOptions {
  const random = randomNumbers(seed ^ 0x5bd1e995)
  const items = 200 + random(2000)
  const isGentle = random(4) === 0
  return {
    seed,
    items,
    agents: 1 + random(6),
    processes: 1 + random(3),
    programs: isGentle ? 1 : 1 + random(3),
    chunkSize: 1 + random(40),
    itemMs: [1, 10, 100][random(3)]!,
    padding: [0, 0, 3000, 9000][random(4)]!,
    codeBytes: [100, 100, 10_000][random(3)]!,
    cancelEvery: !isGentle && random(3) === 0 ? 7 + random(20) : 0,
    latencyMs: [0.1, 2, 50][random(3)]!,
    jitterMs: [0.1, 5, 200][random(3)]!,
    leaseMs: [1000, 3000, 15_000][random(3)]!,
    inlineBytesMax: 4096,
    faultEveryMs: [0, 2000, 5000, 15_000][random(4)]!,
    workerDeathEvery: random(2) === 0 ? 50 + random(200) : 0,
    isPoisoned: !isGentle && random(3) === 0,
    isGentle,
  }
}
