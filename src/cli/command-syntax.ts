/**
 * What a command takes, as data: its options, operands, examples and exit codes. Invariant: parsing, `--help` and shell
 * completion all read the same table, so that none of them knows an option that another does not.
 */

/** An option of a command; its name is its key in the table. */
export interface OptionSyntax {
  /** One letter. */
  readonly short?: string
  /** The placeholder of its value, such as `n`; an option without one is a switch. */
  readonly value?: string
  /** It may be given several times. */
  readonly isRepeated?: true
  /** The only values that it takes. */
  readonly choices?: readonly string[]
  /** What a shell completes its value with. */
  readonly completes?: 'file' | 'folder'
  /** For `--help`. */
  readonly help: string
}

export interface CommandSyntax {
  readonly name: string
  /** For the list of commands. */
  readonly summary: string
  /** What follows the name. */
  readonly usage: string
  /** Paragraphs below the usage line. */
  readonly about: readonly string[]
  /** The operands and what they are; the first column is as wide as that of the options. */
  readonly operands: readonly (readonly [name: string, help: string])[]
  /** What a shell completes operands with. */
  readonly completesOperands: 'file' | 'none' | readonly string[]
  readonly options: Readonly<Record<string, OptionSyntax>>
  readonly examples: readonly string[]
  readonly exitCodes: string
}

/** The values that {@link CommandSyntax.options} give: texts for options with a value, `true` for switches. */
export type OptionValues<S extends CommandSyntax> = {
  [K in keyof S['options']]?: S['options'][K] extends { readonly isRepeated: true }
    ? string[]
    : S['options'][K] extends { readonly value: string }
      ? string
      : boolean
}

/** Every command has it. */
export const HELP_OPTION = { short: 'h', help: 'show this' } as const satisfies OptionSyntax

const LINE_CHARACTERS_MAX = 118
const TITLE_CHARACTERS_MAX = 28

/** The text of `multiproc <command> --help`. */
export function renderHelp(syntax: CommandSyntax): string {
  const { name, usage, about, operands, options, examples, exitCodes } = syntax
  const rows = Object.entries(options).map(([long, { short, value }]): [string, string] => [
    `${short === undefined ? '    ' : `-${short}, `}--${long}${value === undefined ? '' : ` <${value}>`}`,
    options[long]!.help,
  ])
  const titles = [...operands, ...rows].map(([title]) => title.length)
  const width = Math.min(TITLE_CHARACTERS_MAX, Math.max(...titles)) + 3
  return [
    `Usage: multiproc ${name} ${usage}`,
    '',
    ...about.flatMap(paragraph => wrap(paragraph, LINE_CHARACTERS_MAX)),
    '',
    ...(operands.length > 0 ? [...renderRows(operands, width), ''] : []),
    'Options:',
    ...renderRows(rows, width),
    '',
    ...wrap(`Exit code: ${exitCodes}.`, LINE_CHARACTERS_MAX),
    '',
    examples.length === 1 ? 'Example:' : 'Examples:',
    ...examples.map(example => `  ${example}`),
    '',
  ].join('\n')
}

function renderRows(rows: readonly (readonly [title: string, help: string])[], width: number): string[] {
  return rows.flatMap(([title, help]) => {
    const [first = '', ...rest] = wrap(help, LINE_CHARACTERS_MAX - width - 2)
    const indented = rest.map(line => `  ${' '.repeat(width)}${line}`)
    // A long title has a line of its own.
    if (title.length + 2 > width) return [`  ${title}`, `  ${' '.repeat(width)}${first}`, ...indented]
    return [`  ${title.padEnd(width)}${first}`, ...indented]
  })
}

function wrap(text: string, charactersMax: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > charactersMax) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line]
}
