/**
 * Cuts a stream of bytes into lines, reading no further than its consumer asks, so that memory stays flat over an
 * endless stream. A last line without an end counts; an empty rest does not.
 */
import { StringDecoder } from 'node:string_decoder'

/** A line longer than this is an error: most likely the input has no lines. */
const LINE_CHARACTERS_MAX = 1 << 26

/**
 * The lines of a stream, without their ends (`\n` or `\r\n`), or its parts between NUL characters.
 *
 * @throws RangeError for a line of more than 64 Mi characters; whatever the stream throws.
 */
export async function* readLines(
  stream: AsyncIterable<Uint8Array>,
  { end: lineEnd = '\n' }: { end?: '\n' | '\0' } = {},
): AsyncGenerator<string, void> {
  const decoder = new StringDecoder('utf8')
  const finish = lineEnd === '\n' ? withoutReturn : (line: string): string => line
  let rest = ''
  for await (const bytes of stream) {
    const text = decoder.write(bytes)
    let start = 0
    for (let end = text.indexOf(lineEnd); end >= 0; end = text.indexOf(lineEnd, start)) {
      yield finish(rest + text.slice(start, end))
      rest = ''
      start = end + 1
    }
    rest += text.slice(start)
    if (rest.length > LINE_CHARACTERS_MAX) {
      throw new RangeError(
        `Cannot read the input: a line is longer than ${LINE_CHARACTERS_MAX} characters\nTo fix: separate the items by newlines`,
      )
    }
  }
  rest += decoder.end()
  if (rest !== '') yield finish(rest)
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line
}
