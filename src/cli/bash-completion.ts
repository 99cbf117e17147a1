/** The completion script of bash. It works with bash 3.2, which macOS has, and without the package bash-completion. */
import type { CommandSyntax, OptionSyntax } from './command-syntax.ts'

export function bashCompletion(commands: readonly CommandSyntax[]): string {
  return `# bash completion of multiproc. Use: source <(multiproc completion bash)
_multiproc() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} line
  COMPREPLY=()
  _multiproc_words() { while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -W "$1" -- "$word"); }
  _multiproc_files() { while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen "$1" -- "$word"); }
  if [ "$COMP_CWORD" -eq 1 ]; then
    _multiproc_words '${[...commands.map(({ name }) => name), '--help', '--version'].join(' ')}'
    return
  fi
  case "\${COMP_WORDS[1]}" in
${commands.map(renderCommand).join('\n')}
  esac
}
complete -o filenames -F _multiproc multiproc
`
}

function renderCommand({ name, options, completesOperands }: CommandSyntax): string {
  const entries = Object.entries(options)
  const cases = entries.flatMap(([long, option]) => {
    if (option.value === undefined) return []
    const names = [`--${long}`, ...(option.short === undefined ? [] : [`-${option.short}`])].join('|')
    return [`        ${names}) ${renderValue(option)}; return ;;`]
  })
  const switches = entries.map(([long]) => `--${long}`).join(' ')
  const operands =
    completesOperands === 'none'
      ? ':'
      : completesOperands === 'file'
        ? '_multiproc_files -f'
        : `_multiproc_words '${completesOperands.join(' ')}'`
  return [
    `    ${name})`,
    ...(cases.length === 0 ? [] : ['      case "$before" in', ...cases, '      esac']),
    `      case "$word" in -*) _multiproc_words '${switches}' ;; *) ${operands} ;; esac ;;`,
  ].join('\n')
}

function renderValue({ choices, completes }: OptionSyntax): string {
  if (choices !== undefined) return `_multiproc_words '${choices.join(' ')}'`
  if (completes === undefined) return ':'
  return `_multiproc_files ${completes === 'folder' ? '-d' : '-f'}`
}
