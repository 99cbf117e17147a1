/** The completion script of zsh, for `source` after compinit and for a file `_multiproc` in $fpath. */
import type { CommandSyntax, OptionSyntax } from './command-syntax.ts'

export function zshCompletion(commands: readonly CommandSyntax[]): string {
  return `#compdef multiproc
# zsh completion of multiproc. Use: source <(multiproc completion zsh)
_multiproc() {
  local -a commands
  commands=(
${commands.map(({ name, summary }) => `    ${quote(`${name}:${summary}`)}`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${commands.map(renderCommand).join('\n')}
  esac
}
if [[ $funcstack[1] = _multiproc ]]; then _multiproc "$@"; else compdef _multiproc multiproc; fi
`
}

function renderCommand({ name, options, completesOperands }: CommandSyntax): string {
  const rows = Object.entries(options).map(renderOption)
  if (completesOperands === 'file') rows.push(quote('*:file:_files'))
  else if (completesOperands !== 'none') rows.push(quote(`1:value:(${completesOperands.join(' ')})`))
  return [
    `    ${name})`,
    '      _arguments -s \\',
    rows.map(row => `        ${row}`).join(' \\\n'),
    '      ;;',
  ].join('\n')
}

function renderOption([long, option]: [string, OptionSyntax]): string {
  const { short, value, help, isRepeated } = option
  const description = `[${shorten(help).replaceAll(/[[\]:\\]/g, '\\$&')}]`
  const action = value === undefined ? '' : `:${value}:${renderValue(option)}`
  const form = `${isRepeated ? '*' : ''}--${long}${value === undefined ? '' : '='}${description}${action}`
  if (short === undefined) return quote(form)
  const shortForm = `-${short}${value === undefined ? '' : '+'}${description}${action}`
  const exclusive = quote(`(-${short} --${long})`)
  return `${exclusive}${quote(form)} ${exclusive}${quote(shortForm)}`
}

function renderValue({ choices, completes }: OptionSyntax): string {
  if (choices !== undefined) return `(${choices.join(' ')})`
  return completes === undefined ? ' ' : completes === 'folder' ? '_files -/' : '_files'
}

/** What stands in a menu is one line. */
function shorten(help: string): string {
  return help.split(/[.;:] |\. /)[0]!.split(' (')[0]!
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
