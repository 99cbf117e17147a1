/**
 * Numbers that the round and its actors write down, and that are still there after a `kill -9` of whoever did: a
 * shared array, or a file for processes that have no memory in common.
 */
import { closeSync, fstatSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type StartMethod, sharedArray } from 'multiproc'
import { nativeAddon } from '#src/platform/native-addon.js'

const WORD_BYTES = Int32Array.BYTES_PER_ELEMENT

/** What travels in the place of the words. */
export type WordsHandle = Int32Array | { readonly path: string }

/**
 * The words, as everybody sees them. In a file a word is read and written whole, but `add()` and `exchange()` are two
 * steps: a scenario calls them for one word from one actor at a time, if it is as it should be.
 */
export interface Words {
  load(index: number): number
  store(index: number, value: number): void
  /** These give what was there before. */
  add(index: number, value: number): number
  exchange(index: number, value: number): number
  /** All of them, each as it was at some moment during the call. */
  all(): Int32Array
}

let count = 0
const opened = new Map<string, FileWords>()

/** Words that are all 0. `removeWords()` ends them. */
export function makeWords(length: number, method: StartMethod): WordsHandle {
  if (method === 'thread' || nativeAddon() !== undefined) return sharedArray(Int32Array, length)
  const path = join(tmpdir(), `words-${process.pid}-${++count}`)
  writeFileSync(path, new Uint8Array(length * WORD_BYTES))
  return { path }
}

/** In the round, when no actor is left. */
export function removeWords(handle: WordsHandle): void {
  if (handle instanceof Int32Array) return
  opened.get(handle.path)?.close()
  opened.delete(handle.path)
  rmSync(handle.path)
}

export function openWords(handle: WordsHandle): Words {
  if (handle instanceof Int32Array) return new MemoryWords(handle)
  let words = opened.get(handle.path)
  if (words === undefined) opened.set(handle.path, (words = new FileWords(handle.path)))
  return words
}

class MemoryWords implements Words {
  readonly #array: Int32Array

  constructor(array: Int32Array) {
    this.#array = array
  }

  load(index: number): number {
    return Atomics.load(this.#array, index)
  }

  store(index: number, value: number): void {
    Atomics.store(this.#array, index, value)
  }

  add(index: number, value: number): number {
    return Atomics.add(this.#array, index, value)
  }

  exchange(index: number, value: number): number {
    return Atomics.exchange(this.#array, index, value)
  }

  all(): Int32Array {
    return this.#array.slice()
  }
}

/** What is written to a file is the kernel's: it does not go with the writer. */
class FileWords implements Words {
  readonly #file: number
  readonly #path: string
  readonly #word = new Int32Array(1)

  constructor(path: string) {
    this.#path = path
    this.#file = openSync(path, 'r+')
  }

  load(index: number): number {
    if (readSync(this.#file, this.#word, 0, WORD_BYTES, index * WORD_BYTES) !== WORD_BYTES)
      throw new RangeError(`There is no word ${index} in ${this.#path}`)
    return this.#word[0]!
  }

  store(index: number, value: number): void {
    this.#word[0] = value
    writeSync(this.#file, this.#word, 0, WORD_BYTES, index * WORD_BYTES)
  }

  add(index: number, value: number): number {
    const before = this.load(index)
    this.store(index, before + value)
    return before
  }

  exchange(index: number, value: number): number {
    const before = this.load(index)
    this.store(index, value)
    return before
  }

  all(): Int32Array {
    const bytes = new Uint8Array(fstatSync(this.#file).size)
    readSync(this.#file, bytes, 0, bytes.length, 0)
    return new Int32Array(bytes.buffer)
  }

  close(): void {
    closeSync(this.#file)
  }
}
