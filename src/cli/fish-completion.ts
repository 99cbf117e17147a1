/** The completion script of fish: one line for each command and option, as fish has them. */
import type { CommandSyntax, OptionSyntax } from './command-syntax.ts'

export function fishCompletion(commands: readonly CommandSyntax[]): string {
  const lines = [
    '# fish completion of multiproc. Use: multiproc completion fish > ~/.config/fish/completions/multiproc.fish',
    'complete -c multiproc -f',
  ]
  for (const { name, summary } of commands) {
    lines.push(`complete -c multiproc -n __fish_use_subcommand -a ${name} -d ${quote(summary)}`)
  }
  for (const { name, options, completesOperands } of commands) {
    const start = `complete -c multiproc -n ${quote(`__fish_seen_subcommand_from ${name}`)}`
    if (completesOperands === 'file') lines.push(`${start} -F`)
    else if (completesOperands !== 'none') lines.push(`${start} -a ${quote(completesOperands.join(' '))}`)
    for (const [long, option] of Object.entries(options)) lines.push(`${start} ${renderOption(long, option)}`)
  }
  return `${lines.join('\n')}\n`
}

function renderOption(long: string, { short, value, choices, completes, help }: OptionSyntax): string {
  return [
    `-l ${long}`,
    ...(short === undefined ? [] : [`-s ${short}`]),
    // -x: what follows is no file; -r -F: it is one.
    ...(value === undefined ? [] : completes === 'file' ? ['-r -F'] : ['-x']),
    ...(choices === undefined ? [] : [`-a ${quote(choices.join(' '))}`]),
    ...(completes === 'folder' ? [`-a ${quote('(__fish_complete_directories)')}`] : []),
    `-d ${quote(help.split('. ')[0]!)}`,
  ].join(' ')
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
