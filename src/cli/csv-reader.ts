/**
 * The rows of a CSV file as JSON texts, read no further than the consumer asks. Invariant: a row that does not fit the
 * others is an error that names its line, never a row with fields in wrong places.
 */
import type { Readable } from 'node:stream'
import type { Options } from 'csv-parse'

/** A field longer than this is an error: most likely a quote was never closed. */
const ROW_CHARACTERS_MAX = 1 << 26

/** A row, and the line that it ends in, from 1. */
export interface CsvRow {
  text: string
  line: number
}

/**
 * With a header, each row is an object with the names of the first one, else an array. All values are strings.
 *
 * @throws Error with the line for what is no CSV. Rows of the same block of bytes before that line are not given.
 */
export async function* readCsv(
  stream: Readable,
  { delimiter, hasHeader }: { delimiter: string; hasHeader: boolean },
): AsyncGenerator<CsvRow, void> {
  // Loaded here because most runs read no CSV.
  const { parse } = await import('csv-parse')
  const options: Options = {
    bom: true,
    columns: hasHeader ? checkHeader : false,
    delimiter,
    info: true,
    max_record_size: ROW_CHARACTERS_MAX,
    skip_empty_lines: true,
  }
  const parser = parse(options)
  // Errors of the stream do not travel with pipe().
  stream.once('error', error => parser.destroy(error))
  stream.pipe(parser)
  try {
    for await (const { record, info } of parser as AsyncIterable<{
      record: unknown
      info: { lines: number }
    }>) {
      yield { text: JSON.stringify(record), line: info.lines }
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code?.startsWith('CSV_') !== true) throw error
    throw new Error(
      `Cannot read the CSV input: ${message}\nTo fix: correct that line, or say how the file is written with --delimiter and --no-header`,
      { cause: error },
    )
  } finally {
    stream.unpipe(parser)
    parser.destroy()
  }
}

/** Objects have each name once. */
function checkHeader(names: string[]): string[] {
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice === undefined) return names
  throw new Error(
    `Cannot read the CSV input: its header has the column "${twice}" twice\nTo fix: rename one of them, or use --no-header, which gives arrays`,
  )
}
