/** What a terminal shows of a text with control sequences: those that bars use, and no others. */

const ESCAPE = String.fromCharCode(27)
const CONTROL_OR_CHARACTER = new RegExp(`${ESCAPE}\\[[\\d;?]*[A-Za-z]|[^]`, 'gu')
const CONTROL = new RegExp(`^${ESCAPE}\\[([\\d;?]*)([A-Za-z])$`, 'u')

export class TerminalScreen {
  readonly #rows: string[] = ['']
  #row = 0
  #column = 0

  /** The rows, without the empty ones at the end and spaces at the end of each. */
  static of(output: string): string[] {
    const screen = new TerminalScreen()
    for (const [piece] of output.matchAll(CONTROL_OR_CHARACTER)) screen.#take(piece)
    const rows = screen.#rows.map(row => row.trimEnd())
    while (rows.at(-1) === '') rows.pop()
    return rows
  }

  #take(piece: string): void {
    const [, count = '', command] = CONTROL.exec(piece) ?? []
    const row = this.#rows[this.#row] ?? ''
    if (command === undefined) {
      if (piece === '\n') {
        this.#row++
        this.#rows[this.#row] ??= ''
      } else if (piece === '\r') {
        this.#column = 0
      } else {
        const padded = row.padEnd(this.#column)
        this.#rows[this.#row] = padded.slice(0, this.#column) + piece + padded.slice(this.#column + 1)
        this.#column++
      }
      return
    }
    if (command === 'A') this.#row = Math.max(0, this.#row - Number(count || 1))
    else if (command === 'G') this.#column = Number(count || 1) - 1
    else if (command === 'K') this.#rows[this.#row] = row.slice(0, this.#column)
    else if (command === 'J') {
      this.#rows[this.#row] = row.slice(0, this.#column)
      this.#rows.splice(this.#row + 1)
    } else if (command !== 'm') throw new Error(`An unexpected control sequence: ${JSON.stringify(piece)}`)
  }
}
