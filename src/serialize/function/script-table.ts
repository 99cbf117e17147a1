/**
 * The scripts whose functions have been looked at: URL, source and positions. Sources are asked for once per script;
 * the least recently added are forgotten beyond a bound and asked for again when needed.
 */
import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { inspector, type FunctionLocation, type ScriptFacts } from './inspector-session.ts'
import { ModuleSyntax } from './module-syntax.ts'
import { parseScriptName } from './rebuilt-scripts.ts'
import { rememberSourceMap } from './stack-remapping.ts'

const scriptsMax = 1024
const scripts = new Map<string, Script>()
let known = new Map<string, ScriptFacts>()

/** The script of a function, or `undefined` when V8 does not know it any more. */
export function scriptOf(scriptId: string): Script | undefined {
  const cached = scripts.get(scriptId)
  if (cached) return cached
  const session = inspector()
  if (!session) return undefined
  if (!known.has(scriptId)) known = new Map(session.scripts().map(facts => [facts.scriptId, facts]))
  const facts = known.get(scriptId)
  if (!facts) return undefined
  const script = new Script(facts, session.sourceOf(scriptId))
  if (scripts.size >= scriptsMax) scripts.delete(scripts.keys().next().value as string)
  scripts.set(scriptId, script)
  return script
}

export class Script {
  readonly id: string
  /** As a URL, also for CommonJS modules; empty for code without a name. */
  readonly url: string
  readonly isModule: boolean
  readonly source: string
  readonly sourceMapUrl: string
  /** A tool made the source from another file. */
  readonly isGenerated: boolean
  private readonly startLine: number
  private readonly startColumn: number
  private parsed: ModuleSyntax | undefined
  private starts: number[] | undefined

  constructor(facts: ScriptFacts, source: string) {
    this.id = facts.scriptId
    // A function that came from another process goes on under the name of its original script.
    const { url, isGenerated } = parseScriptName(facts.url)
    this.url = toUrl(url)
    this.sourceMapUrl = facts.sourceMapUrl
    this.isGenerated = isGenerated || facts.sourceMapUrl !== ''
    this.isModule = facts.isModule
    this.startLine = facts.startLine
    this.startColumn = facts.startColumn
    this.source = source
    if (this.sourceMapUrl) rememberSourceMap(this.url, this.sourceMapUrl)
  }

  get syntax(): ModuleSyntax {
    this.parsed ??= new ModuleSyntax(this.source, this.isModule)
    return this.parsed
  }

  /** Where the source text of a function starts, which is before what V8 calls its location. */
  startOf(text: string, location: FunctionLocation): number {
    const at = this.offsetAt(location)
    const start = this.source.lastIndexOf(text, at)
    return start < 0 ? at : start
  }

  offsetAt({ lineNumber, columnNumber }: { lineNumber: number; columnNumber: number }): number {
    const line = lineNumber - this.startLine
    const column = line === 0 ? columnNumber - this.startColumn : columnNumber
    return (this.lineStarts()[line] ?? 0) + column
  }

  /** Line and column of an offset, from 0, as V8 counts them in stacks. */
  positionAt(offset: number): { line: number; column: number } {
    const starts = this.lineStarts()
    let low = 0
    let high = starts.length
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((starts[middle] as number) <= offset) low = middle
      else high = middle
    }
    const column = offset - (starts[low] as number)
    return { line: low + this.startLine, column: low === 0 ? column + this.startColumn : column }
  }

  private lineStarts(): number[] {
    if (!this.starts) {
      this.starts = [0]
      for (const { index, 0: text } of this.source.matchAll(/\r\n?|[\n\u2028\u2029]/g)) {
        this.starts.push(index + text.length)
      }
    }
    return this.starts
  }
}

const checkedFiles = new Set<string>()

/**
 * Warns when a file that children will load has been edited since this process loaded it. Loaders transform sources,
 * so a difference alone means nothing; only with a later modification time does it.
 */
export function warnIfEdited(script: Script): void {
  if (!script.url.startsWith('file:') || checkedFiles.has(script.url) || script.sourceMapUrl) return
  checkedFiles.add(script.url)
  try {
    const file = fileURLToPath(script.url)
    if (statSync(file).mtimeMs <= performance.timeOrigin) return
    if (!/\.[cm]?js$/.test(file) || readFileSync(file, 'utf8').replace(/^\uFEFF/, '') === script.source)
      return
    process.emitWarning(`${file} was edited after this process loaded it; other processes run the new text`, {
      type: 'MultiprocWarning',
      code: 'MULTIPROC_FILE_EDITED',
    })
  } catch {
    // The file is gone or can't be read: the child says so when it loads it.
  }
}

/** Script names are paths for CommonJS modules and URLs for others. */
export function toUrl(name: string): string {
  return name.startsWith('/') || /^[A-Za-z]:\\/.test(name) ? pathToFileURL(name).href : name
}
