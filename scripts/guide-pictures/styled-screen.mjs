// What a terminal shows of a text with control sequences, and in which style: those that the library writes, and no
// others.
const escape = String.fromCharCode(27)
const pieces = new RegExp(`${escape}\\[([\\d;?]*)([A-Za-z])|${escape}[78]|[^]`, 'gu')

export class StyledScreen {
  /** Rows of cells: `{ character, style }`. */
  rows = [[]]
  #row = 0
  #column = 0
  #style = ''

  static of(written) {
    const screen = new StyledScreen()
    for (const [piece, parameters, command] of written.matchAll(pieces)) {
      if (command !== undefined) screen.#control(command, parameters)
      else if (!piece.startsWith(escape)) screen.#print(piece)
    }
    while (screen.rows.length > 1 && screen.rows.at(-1).every(({ character }) => character === ' '))
      screen.rows.pop()
    return screen
  }

  get text() {
    return this.rows.map(row => row.map(({ character }) => character).join('')).join('\n')
  }

  #print(character) {
    if (character === '\n') this.#moveTo(this.#row + 1, this.#column)
    else if (character === '\r') this.#column = 0
    else if (character >= ' ') {
      const row = this.rows[this.#row]
      while (row.length < this.#column) row.push({ character: ' ', style: '' })
      row[this.#column++] = { character, style: this.#style }
    }
  }

  #moveTo(row, column) {
    this.#row = Math.max(0, row)
    this.#column = Math.max(0, column)
    while (this.rows.length <= this.#row) this.rows.push([])
  }

  #control(command, parameters) {
    const numbers = parameters.split(';').map(Number)
    const count = numbers[0] || 1
    if (command === 'A') this.#moveTo(this.#row - count, this.#column)
    else if (command === 'B') this.#moveTo(this.#row + count, this.#column)
    else if (command === 'G') this.#moveTo(this.#row, count - 1)
    else if (command === 'H') this.#moveTo(count - 1, (numbers[1] || 1) - 1)
    else if (command === 'K')
      this.rows[this.#row].length = Math.min(this.#column, this.rows[this.#row].length)
    else if (command === 'J') {
      this.rows[this.#row].length = Math.min(this.#column, this.rows[this.#row].length)
      this.rows.length = this.#row + 1
    } else if (command === 'm') this.#style = styleAfter(this.#style, numbers)
    else if (command !== 'h' && command !== 'l')
      throw new Error(`The screen does not know the control sequence ESC[${parameters}${command}`)
  }
}

const styles = { 1: 'bold', 2: 'dim', 7: 'inverse' }

/** The classes of the page that a cell has. */
function styleAfter(before, numbers) {
  let style = before
  for (const number of numbers) {
    if (number === 0) style = ''
    else if (styles[number] !== undefined) style += ` ${styles[number]}`
    else if (number === 22) style = style.replaceAll(/ (?:bold|dim)/g, '')
    else if (number === 27) style = style.replaceAll(' inverse', '')
    else if (number === 39) style = style.replaceAll(/ color\d+/g, '')
    else if ((number >= 30 && number <= 37) || (number >= 90 && number <= 97)) {
      style = `${style.replaceAll(/ color\d+/g, '')} color${number % 10}`
    }
  }
  return style
}
