/** The limit of the memory of workers, as the pool sees it: who sets it too low is told so, once. */

export class MemoryLimit {
  readonly #poolName: string
  readonly #bytesMax: number | undefined
  #hasWarned = false

  constructor(poolName: string, bytesMax: number | undefined) {
    this.#poolName = poolName
    this.#bytesMax = bytesMax
  }

  /** A worker that is too large before its first item will be replaced after its first chunk, and so will the next. */
  noteFresh(memoryBytes: number | undefined): void {
    if (this.#hasWarned || this.#bytesMax === undefined || memoryBytes === undefined) return
    if (memoryBytes <= this.#bytesMax) return
    this.#hasWarned = true
    process.emitWarning(
      `Every worker of the pool "${this.#poolName}" is replaced again and again: it has ${mebibytes(memoryBytes)} before its first item, and "maxMemoryPerChild" is ${mebibytes(this.#bytesMax)}\nTo fix: raise "maxMemoryPerChild", which is in bytes`,
      'MemoryLimitWarning',
    )
  }
}

export function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`
}
