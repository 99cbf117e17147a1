/**
 * What the writers and the readers of a channel have committed. Each side has two states and a counter of commits, whose
 * last bit says which of the two counts. A commit fills the other state and then moves the counter: whoever is killed
 * in between has changed nothing.
 */
import { CHANNEL, READER, READER_STATE_WORDS, WRITER, WRITER_STATE_WORDS } from './channel-layout.ts'

/** See {@link WRITER}. */
export interface WriterState {
  head: number
  puts: number
  ringIndex: number
  ringGeneration: number
  capacity: number
  lastIndex: number
  lastGeneration: number
  outsideKiB: number
}

/** See {@link READER}. */
export interface ReaderState {
  tail: number
  gets: number
  lastIndex: number
  lastGeneration: number
  outsideKiB: number
}

export function newWriterState(): WriterState {
  return {
    head: 0,
    puts: 0,
    ringIndex: 0,
    ringGeneration: 0,
    capacity: 0,
    lastIndex: 0,
    lastGeneration: 0,
    outsideKiB: 0,
  }
}

export function newReaderState(): ReaderState {
  return { tail: 0, gets: 0, lastIndex: 0, lastGeneration: 0, outsideKiB: 0 }
}

/** Reads what the writers committed last. Without their lock: again when a commit came in between. */
export function loadWriter(words: Int32Array, base: number, into: WriterState): void {
  const counter = base + CHANNEL.commits
  for (;;) {
    const commits = Atomics.load(words, counter)
    const at = base + CHANNEL.writerStates + (commits & 1) * WRITER_STATE_WORDS
    into.head = Atomics.load(words, at + WRITER.head)
    into.puts = Atomics.load(words, at + WRITER.puts)
    into.ringIndex = Atomics.load(words, at + WRITER.ringIndex)
    into.ringGeneration = Atomics.load(words, at + WRITER.ringGeneration)
    into.capacity = Atomics.load(words, at + WRITER.capacity)
    into.lastIndex = Atomics.load(words, at + WRITER.lastIndex)
    into.lastGeneration = Atomics.load(words, at + WRITER.lastGeneration)
    into.outsideKiB = Atomics.load(words, at + WRITER.outsideKiB)
    if (Atomics.load(words, counter) === commits) return
  }
}

/** With the writers' lock. Gives the counter as it is now. */
export function commitWriter(words: Int32Array, base: number, state: WriterState): number {
  const counter = base + CHANNEL.commits
  const at = base + CHANNEL.writerStates + (~Atomics.load(words, counter) & 1) * WRITER_STATE_WORDS
  words[at + WRITER.head] = state.head
  words[at + WRITER.puts] = state.puts
  words[at + WRITER.ringIndex] = state.ringIndex
  words[at + WRITER.ringGeneration] = state.ringGeneration
  words[at + WRITER.capacity] = state.capacity
  words[at + WRITER.lastIndex] = state.lastIndex
  words[at + WRITER.lastGeneration] = state.lastGeneration
  words[at + WRITER.outsideKiB] = state.outsideKiB
  return (Atomics.add(words, counter, 1) + 1) | 0
}

/** Reads what the readers committed last. Without their lock: again when a commit came in between. */
export function loadReader(words: Int32Array, base: number, into: ReaderState): void {
  const counter = base + CHANNEL.takes
  for (;;) {
    const takes = Atomics.load(words, counter)
    const at = base + CHANNEL.readerStates + (takes & 1) * READER_STATE_WORDS
    into.tail = Atomics.load(words, at + READER.tail)
    into.gets = Atomics.load(words, at + READER.gets)
    into.lastIndex = Atomics.load(words, at + READER.lastIndex)
    into.lastGeneration = Atomics.load(words, at + READER.lastGeneration)
    into.outsideKiB = Atomics.load(words, at + READER.outsideKiB)
    if (Atomics.load(words, counter) === takes) return
  }
}

/** With the readers' lock. Gives the counter as it is now. */
export function commitReader(words: Int32Array, base: number, state: ReaderState): number {
  const counter = base + CHANNEL.takes
  const at = base + CHANNEL.readerStates + (~Atomics.load(words, counter) & 1) * READER_STATE_WORDS
  words[at + READER.tail] = state.tail
  words[at + READER.gets] = state.gets
  words[at + READER.lastIndex] = state.lastIndex
  words[at + READER.lastGeneration] = state.lastGeneration
  words[at + READER.outsideKiB] = state.outsideKiB
  return (Atomics.add(words, counter, 1) + 1) | 0
}
