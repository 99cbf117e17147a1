/**
 * What a thread and its parent must know of each other at moments when no message arrives: memory that both see.
 * Node.js tells too little of a thread that is terminated, and leaks when one is terminated too early.
 */
import { watchModuleLoading } from '../platform/module-loading.ts'

const WORDS = { ownExitCode: 0, stage: 1, isToEnd: 2 } as const
/** What a thread does: it loads our modules, it runs, it loads modules of its user. */
const STAGES = ['starting', 'running', 'importing'] as const
export type ThreadStage = (typeof STAGES)[number]

/** Both sides make one on the same memory. */
export class ThreadLife {
  readonly memory: SharedArrayBuffer
  readonly #words: Int32Array

  constructor(memory = new SharedArrayBuffer(3 * Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory
    this.#words = new Int32Array(memory)
  }

  /**
   * In the thread, as the first thing when its modules are loaded. It ends here if it is to, and afterwards whenever it
   * begins or ends to load modules.
   *
   * The thread says in which stage it is and then looks whether it is to end; the parent says that it is to end and
   * then looks at the stage. Whoever comes second sees the other: either the thread ends, or the parent terminates it,
   * or both do.
   */
  begin(): void {
    this.#enter('running')
    process.on('exit', code => Atomics.store(this.#words, WORDS.ownExitCode, 1 + (code & 0xff)))
    watchModuleLoading({
      begin: () => this.#enter('importing'),
      end: () => this.#enter('running'),
    })
  }

  #enter(stage: ThreadStage): void {
    Atomics.store(this.#words, WORDS.stage, STAGES.indexOf(stage))
    if (Atomics.load(this.#words, WORDS.isToEnd) === 0) return
    // As if it were terminated: no handler of the user's runs, and it has not ended by itself.
    process.removeAllListeners('exit')
    process.exit()
  }

  /** In the parent: whether it has come so far that our code runs in it. */
  hasBegun(): boolean {
    return STAGES[Atomics.load(this.#words, WORDS.stage)] !== 'starting'
  }

  /** In the parent: asks the thread to end, and gives its stage. One that is running can be terminated. */
  askToEnd(): ThreadStage {
    Atomics.store(this.#words, WORDS.isToEnd, 1)
    return STAGES[Atomics.load(this.#words, WORDS.stage)]!
  }

  /**
   * In the parent, after the end: whether a thread that was to be terminated had ended by itself before, given the
   * code that Node.js reports.
   *
   * terminate() makes Node.js report 0 or 1, as if the thread had ended so: 0 until the thread has an environment, 1
   * from then on, which is some time before it runs its first line and long before the parent gets to hear of that
   * ('online'). So the parent cannot tell what a terminated thread will report. The thread can tell what it does: no
   * 'exit' event happens in one that is terminated. It may still be terminated behind that event, which replaces
   * its code by 1.
   */
  hasEndedByItself(exitCode: number): boolean {
    const own = Atomics.load(this.#words, WORDS.ownExitCode)
    if (exitCode === 0) return own !== 0
    return exitCode !== 1 || own === 1 + exitCode
  }
}
