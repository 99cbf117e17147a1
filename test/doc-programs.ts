/**
 * The programs in the documentation. A fenced block is a program when the words after its opening fence say so:
 *
 * - `js run` or `js run name.mjs`: a whole program, to be run under that name;
 * - `js file name.mjs`: a file beside the program that follows;
 * - `ts example 01-child-process`: the example of that name, without its opening comment;
 * - `text output`, right after a program: all that it prints. `text output any-order`: its lines in some order.
 *
 * Numbers of processes and workers and the folder of the program differ from run to run, so both sides are compared without them.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))

export interface DocProgram {
  page: string
  /** Of the opening fence, from 1. */
  line: number
  text: string
  name: string
  isExample: boolean
  /** Files that it imports: name to text. */
  files: ReadonlyMap<string, string>
  output: { text: string; isInAnyOrder: boolean } | undefined
}

interface Block {
  line: number
  words: readonly string[]
  text: string
}

function blocksOf(text: string): Block[] {
  const blocks: Block[] = []
  let open: { line: number; words: readonly string[]; lines: string[] } | undefined
  for (const [index, line] of text.split('\n').entries()) {
    if (!line.startsWith('```')) open?.lines.push(line)
    else if (open === undefined) open = { line: index + 1, words: line.slice(3).split(' '), lines: [] }
    else {
      blocks.push({ line: open.line, words: open.words, text: open.lines.map(each => `${each}\n`).join('') })
      open = undefined
    }
  }
  return blocks
}

/** The programs of one page. */
export function programsOf(page: string, text: string): DocProgram[] {
  const programs: DocProgram[] = []
  let files = new Map<string, string>()
  for (const { line, words, text: body } of blocksOf(text)) {
    const [language, kind, name] = words
    if (kind === 'file' && name !== undefined) files.set(name, body)
    else if ((language === 'js' && kind === 'run') || (language === 'ts' && kind === 'example')) {
      const isExample = kind === 'example'
      programs.push({ page, line, text: body, name: name ?? 'main.mjs', isExample, files, output: undefined })
      files = new Map()
    } else if (language === 'text' && kind === 'output') {
      const program = programs.at(-1)
      if (program === undefined || program.output !== undefined)
        throw new Error(`${page}:${line}: this output belongs to no program`)
      program.output = { text: body, isInAnyOrder: name === 'any-order' }
    }
  }
  return programs
}

/** Runs a program to its end, and gives what it printed; fails unless it ended with code 0. */
export async function outputOf(program: DocProgram): Promise<string> {
  const { page, line, name, files, text } = program
  const folder = join(root, 'build', 'docs', `${page.replaceAll(/\W/g, '-')}-${line}`)
  let main = join(root, 'build', 'examples', `${name}.js`)
  if (!program.isExample) {
    main = join(folder, name)
    for (const [path, content] of [...files, [name, text] as const]) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), content)
    }
  }
  try {
    const printed = await new Promise<string>((resolve, reject) => {
      execFile(process.execPath, [main], { cwd: root, timeout: 60_000 }, (error, stdout, stderr) => {
        if (error === null && stderr === '') resolve(stdout)
        else reject(new Error(`${page}:${line} failed, with this on stderr:\n${stderr}`, { cause: error }))
      })
    })
    return printed.replaceAll(`${folder}/`, '/app/')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What two runs have in common. */
export function comparable(output: string, { isInAnyOrder }: { isInAnyOrder: boolean }): string[] {
  const lines = output.replaceAll(/\b(pid[ =]|parent=|PoolWorker-)\d+/g, '$1N').split('\n')
  return isInAnyOrder ? lines.toSorted() : lines
}
