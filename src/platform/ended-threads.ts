/**
 * The ends of threads without the addon, for who is blocked: the thread that would mark an end in its event loop may be
 * that one itself. Invariant: a member is marked only when the system has its thread no more.
 */
import { HEADER, LIFE_ENDED, MEMBER, MEMBER_STATE, memberAt } from './heap-layout.ts'
import { hasThreadEnded } from './process-facts.ts'

/** Marks the members whose threads have ended. Their life words are the first of their records. */
export function markEndedThreads(words: Int32Array): void {
  for (let slot = 0; slot < Atomics.load(words, HEADER.memberLimit); slot++) {
    const at = memberAt(slot)
    const generation = Atomics.load(words, at + MEMBER.generation)
    if (Atomics.load(words, at + MEMBER.state) !== MEMBER_STATE.alive) continue
    const life = Atomics.load(words, at)
    if ((life & LIFE_ENDED) !== 0 || !hasThreadEnded(words[at + MEMBER.systemThread]!)) continue
    // In its next life the place is somebody else's, whose life word is another.
    if (Atomics.load(words, at + MEMBER.generation) === generation)
      Atomics.compareExchange(words, at, life, life | LIFE_ENDED)
  }
}
