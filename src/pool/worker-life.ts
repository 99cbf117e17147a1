/**
 * What a worker does before its first task and at its end, and how it knows that it has become too large. Invariant: it
 * says `ready` or `setupFailed` exactly once, and runs its finalizer once at most, only after `ready`.
 */
import { ModuleLoadError } from '../errors.ts'
import type { JournalWriter } from '../platform/journal.ts'
import { bytesBeforeDeath, ownMemoryBytes } from '../platform/own-memory.ts'
import { pinTo, setNiceness } from '../platform/scheduling.ts'
import { whileImporting } from '../process/import-guard.ts'
import { type ClassScope, encodeThrown, prepare } from '../serialize/codec.ts'
import { importFrom } from '../serialize/function/dynamic-import.ts'
import type { Connection } from '../transport/connection.ts'
import { setWorkerState } from './current-task.ts'
import type { Preload } from './life-options.ts'
import { rebuild } from './loaded-functions.ts'
import { type Body, type SetupStage, type WorkerSetup, sendMessage } from './protocol.ts'

/** Asking for the memory of this process takes some 10 µs, for that of a thread some 50 µs. */
const lookEveryMs = 10
/** Where nothing depends on it, so often is enough. */
const tellEveryMs = 250

export class WorkerLife {
  readonly #connection: Connection
  #memoryBytesMax: number | undefined
  #lookedAtMs = 0
  #toldAtMs = -Infinity
  #isRetiring = false
  /** Set while there is something to do at the end. */
  #finalize: (() => unknown) | undefined

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Gets ready, and says so, or why not. */
  async begin(setup: WorkerSetup, bodies: readonly Body[]): Promise<void> {
    let stage: SetupStage = 'scheduling'
    const startedMs = performance.now()
    try {
      if (setup.niceness !== undefined) setNiceness(setup.niceness)
      if (setup.cpus !== undefined) pinTo(setup.cpus)
      stage = 'preload'
      if (setup.preload !== undefined) await whileImporting(() => importAll(setup.preload!))
      stage = 'initializer'
      for (const body of bodies) await prepare(body.bytes)
      const rest = [...bodies]
      const classes: ClassScope = new Map()
      let state: unknown
      if (setup.hasInitializer) {
        const initializer = rebuild(rest.shift()!, { definedClasses: classes }) as Hook
        state = await initializer(...(rebuild(rest.shift()!, { classes }) as unknown[]))
        setWorkerState(state)
      }
      stage = 'finalizer'
      if (setup.hasFinalizer) {
        const finalizer = rebuild(rest.shift()!, { definedClasses: classes }) as Hook
        this.#finalize = () => finalizer(state)
      }
      this.#memoryBytesMax = setup.memoryBytesMax
      const memory = this.#memoryBytesMax === undefined ? {} : { memoryBytes: ownMemoryBytes() }
      sendMessage(this.#connection, {
        type: 'ready',
        bodies: 0,
        initMs: performance.now() - startedMs,
        ...memory,
      })
    } catch (thrown) {
      sendMessage(
        this.#connection,
        { type: 'setupFailed', bodies: 1, stage },
        { bytes: encodeThrown(thrown) },
      )
    }
    this.#connection.flush()
  }

  /** Notes now and then how much memory it has, for whoever has to say why it died. */
  tellMemory(journal: JournalWriter | undefined, nowMs: number): void {
    if (nowMs - this.#toldAtMs < tellEveryMs) return
    this.#toldAtMs = nowMs
    journal?.tellMemory(bytesBeforeDeath())
  }

  /** Says once that this worker is too large. Called between tasks. */
  checkMemory(): void {
    const limit = this.#memoryBytesMax
    if (limit === undefined || this.#isRetiring) return
    const nowMs = performance.now()
    if (nowMs - this.#lookedAtMs < lookEveryMs) return
    this.#lookedAtMs = nowMs
    if (ownMemoryBytes() <= limit) return
    this.#isRetiring = true
    sendMessage(this.#connection, { type: 'retire', bodies: 0 })
  }

  /** Runs the finalizer, for which the parent gives a limited time. */
  async end(): Promise<void> {
    const finalize = this.#finalize
    this.#finalize = undefined
    if (!finalize) return
    // On its way before anything of the finalizer runs: it may never return.
    sendMessage(this.#connection, { type: 'finalizing', bodies: 0 })
    this.#connection.flush()
    try {
      await finalize()
    } catch (thrown) {
      sendMessage(this.#connection, { type: 'finalizerFailed', bodies: 1 }, { bytes: encodeThrown(thrown) })
      this.#connection.flush()
    }
  }
}

type Hook = (...values: unknown[]) => unknown

/** One after the other, as the lines of a module would. */
async function importAll({ modules, base }: Preload): Promise<void> {
  for (const module of modules) {
    try {
      await importFrom(base, module)
    } catch (error) {
      const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
      throw new ModuleLoadError(
        `Cannot preload ${module}: ${reason}\nTo fix: see the cause; names of modules are looked up from ${base ?? 'the working directory'}, and new URL('./file.js', import.meta.url) names one relative to the file that says so`,
        { url: module, canSendByValue: false, cause: error },
      )
    }
  }
}
