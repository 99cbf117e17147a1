/**
 * Takes a stream of bytes apart into lines of JSON. Invariant: it never holds more than one line and what has come behind
 * it, and a line that is too long, or no JSON, is an error of its sender.
 */
import { StringDecoder } from 'node:string_decoder'
import { ProcessError } from '../errors.ts'

export class JsonLines {
  readonly #charactersMax: number
  readonly #decoder = new StringDecoder('utf8')
  /** Joined only when the line is whole: a long one comes in many pieces. */
  #pieces: string[] = []
  #length = 0

  constructor({ charactersMax }: { charactersMax: number }) {
    this.#charactersMax = charactersMax
  }

  /**
   * The values of the lines that `bytes` ends.
   *
   * @throws ProcessError `ERR_PROTOCOL`
   */
  *push(bytes: Uint8Array): Generator {
    const [first = '', ...others] = this.#decoder.write(Buffer.from(bytes)).split('\n')
    this.#add(first)
    for (const piece of others) {
      const line = this.#pieces.join('')
      this.#pieces = []
      this.#length = 0
      yield parse(line)
      this.#add(piece)
    }
  }

  #add(piece: string): void {
    this.#length += piece.length
    if (this.#length > this.#charactersMax) {
      throw protocolError(`a line has more than ${this.#charactersMax} characters`)
    }
    if (piece !== '') this.#pieces.push(piece)
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown
  } catch {
    throw protocolError('a line is no JSON')
  }
}

/** The other side of an inspection does not speak its protocol. */
export function protocolError(why: string): ProcessError {
  return new ProcessError(
    'ERR_PROTOCOL',
    `Cannot go on with an inspection: ${why}\nTo fix: use the same version of multiproc on both sides`,
  )
}
