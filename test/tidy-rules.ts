/**
 * The rules of CONTRIBUTING.md that a program can check, each a pure function from a file (or the list of all files)
 * to the complaints about it. tidy.test.ts runs them over the project, and over a planted violation of each.
 */

export interface SourceFile {
  /** From the project's root, with slashes: `src/pool/pool.ts`. */
  readonly path: string
  readonly text: string
}

/** The folders of src/, lowest first. A layer imports from itself and from those before it. */
export const LAYERS = [
  'errors',
  'platform',
  'insights',
  'opentelemetry',
  'serialize',
  'transport',
  'broker',
  'memory',
  'socket',
  'sync',
  'queue',
  'process',
  'connection',
  'pool',
  'dashboard',
  'managers',
  'futures',
  'cluster',
  'cli',
  'index',
] as const

/** Layers that hold a protocol or a format, which is written down step by step in the folder's README.md. */
export const LAYERS_WITH_PROTOCOL = [
  'platform',
  'serialize',
  'transport',
  'broker',
  'memory',
  'socket',
  'sync',
  'queue',
  'process',
  'connection',
  'pool',
  'dashboard',
  'managers',
  'futures',
  'cluster',
  'cli',
] as const

export const MAX_LINES_OF_CODE = 500
export const MAX_LINES_OF_ENTRY = 40
export const MAX_LINE_LENGTH = 160

/** Files past MAX_LINES_OF_CODE, each with the reason why it is better as one. */
export const LONG_FILES: Readonly<Record<string, string>> = {
  'src/serialize/value-writer.ts':
    'one pass over one state, and the hottest code of all: a cut would be a call',
}

export function isSource(path: string): boolean {
  return path.startsWith('src/') && path.endsWith('.ts')
}

function isTestCode(path: string): boolean {
  return path.startsWith('test/') && /\.[mc]?[jt]sx?$/.test(path)
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length
}

/** Replaces comments by spaces, so that an index into the result is an index into the text. */
export function withoutComments(text: string): string {
  // Strings and templates first, so that "//" in them is no comment. A regular expression that holds a quote or a
  // comment sign can fool this; the rules that use it look for words that no regular expression contains.
  const tokens = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g
  return text.replace(tokens, token => (/^\/[/*]/.test(token) ? token.replace(/[^\n]/g, ' ') : token))
}

export function linesOfCode(text: string): number {
  return withoutComments(text)
    .split('\n')
    .filter(line => line.trim() !== '').length
}

/** The layer of a file of src/: its folder, or its own name when it lies in src/ itself. */
function layerOf(path: string): string {
  return path
    .replace(/^src\//, '')
    .replace(/\/.*$/, '')
    .replace(/\.ts$/, '')
}

function rankOf(layer: string): number {
  return (LAYERS as readonly string[]).indexOf(layer)
}

/** Joins `./b.ts` and `../c/d.ts` to the folder of the importing file. */
function resolveImport(from: string, specifier: string): string {
  const parts = from.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return parts.join('/')
}

export function layering({ path, text }: SourceFile): string[] {
  if (!isSource(path)) return []
  const own = layerOf(path)
  if (rankOf(own) < 0)
    return [`${path}: "${own}" is no layer. Add it to LAYERS and to ARCHITECTURE.md, or move the file`]
  const imports = /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(['"])(\.[^'"]*)\1/g
  const complaints: string[] = []
  for (const match of withoutComments(text).matchAll(imports)) {
    const target = resolveImport(path, match[2] ?? '')
    const layer = layerOf(target)
    if (!target.startsWith('src/'))
      complaints.push(`${path}:${lineAt(text, match.index)}: imports ${target}, outside src/`)
    else if (rankOf(layer) > rankOf(own))
      complaints.push(
        `${path}:${lineAt(text, match.index)}: ${own} imports ${target}, of the higher layer ${layer}`,
      )
  }
  return complaints
}

export function operatingSystemOnlyInPlatform({ path, text }: SourceFile): string[] {
  if (!isSource(path) || layerOf(path) === 'platform') return []
  return [
    ...withoutComments(text).matchAll(/\bprocess\.platform\b|['"]node:os['"]|['"`]\/(?:proc|sys)\//g),
  ].map(match => `${path}:${lineAt(text, match.index)}: ${match[0]} belongs into src/platform/`)
}

export function fileNames({ path }: SourceFile): string[] {
  if (!isSource(path)) return []
  const complaints: string[] = []
  for (const part of path.split('/').slice(1)) {
    if (!/^[a-z0-9]+(-[a-z0-9]+)*(\.ts)?$/.test(part)) complaints.push(`${path}: "${part}" is not kebab-case`)
    if (/^(?:utils?|helpers?|common|misc|shared|stuff)(?:\.ts)?$/.test(part))
      complaints.push(`${path}: "${part}" says nothing of what is in it. Name the file after its main export`)
  }
  return complaints
}

export function openingComment({ path, text }: SourceFile): string[] {
  if (!isSource(path)) return []
  const start = text.replace(/^#!.*\n/, '').trimStart()
  const comment = /^(?:\/\*[\s\S]*?\*\/|(?:\/\/[^\n]*\n?)+)/.exec(start)?.[0] ?? ''
  if (comment.replace(/[/*\s]/g, '').length >= 30) return []
  return [`${path}: does not open with a comment that says what it is for and which invariant it keeps`]
}

export function fileLength({ path, text }: SourceFile): string[] {
  if (!isSource(path) && !isTestCode(path)) return []
  const lines = linesOfCode(text)
  const reason = LONG_FILES[path]
  if (lines > MAX_LINES_OF_CODE && reason === undefined)
    return [`${path}: ${lines} lines of code, more than ${MAX_LINES_OF_CODE}. It is usually two things`]
  if (lines <= MAX_LINES_OF_CODE && reason !== undefined)
    return [`${path}: has ${lines} lines of code and needs its entry in LONG_FILES no more`]
  return []
}

export function entryLength({ path, text }: SourceFile): string[] {
  const lines = text.split('\n').length - 1
  if (!isSource(path) || !path.endsWith('-main.ts') || lines < MAX_LINES_OF_ENTRY) return []
  return [`${path}: ${lines} lines. An entry file only imports and starts what other files do`]
}

export function lineLength({ path, text }: SourceFile): string[] {
  if (!isSource(path)) return []
  return text.split('\n').flatMap((line, index) =>
    // A message stays in one piece, so that it can be searched for: the text of literals does not count.
    line.replace(/(['"`])(?:(?!\1).)*\1/g, '$1$1').length > MAX_LINE_LENGTH
      ? [`${path}:${index + 1}: ${line.length} characters, more than ${MAX_LINE_LENGTH}`]
      : [],
  )
}

export function issueInTodo({ path, text }: SourceFile): string[] {
  return [...text.matchAll(/(?<!`)\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))/g)].map(
    match => `${path}:${lineAt(text, match.index)}: ${match[0]} without an issue, as in ${match[0]}(#12)`,
  )
}

/**
 * Sleeping in tests: slow when it works and wrong when the machine is busy. A comment on the same line or the one
 * above, `Sleep: <reason>`, permits a place where time itself is the subject.
 */
export function noSleep({ path, text }: SourceFile): string[] {
  if (!isTestCode(path)) return []
  const sleeps = [
    /['"](?:node:)?timers\/promises['"]/g,
    // new Promise(resolve => setTimeout(resolve, 100)), with or without braces, types and an arrow around `resolve`.
    /new Promise(?:<[^>]*>)?\(\s*\(?\s*(\w+)[^)=]*\)?\s*=>\s*\{?\s*(?:void )?setTimeout\(\s*(?:\1\b|\(\)\s*=>\s*\{?\s*\1\()/g,
    /\b(?:await|yield)\s+(?:sleep|delay|pause)\(/g,
    /Atomics\.wait\(\s*new Int32Array\(new SharedArrayBuffer/g,
    /['"`]sleep \d/g,
  ]
  const code = withoutComments(text)
  const lines = text.split('\n')
  return sleeps.flatMap(sleep =>
    [...code.matchAll(sleep)].flatMap(match => {
      const line = lineAt(text, match.index)
      const isPermitted = [lines[line - 1], lines[line - 2]].some(near =>
        /\/\/.*\bSleep: .{15,}/.test(near ?? ''),
      )
      if (isPermitted) return []
      return [
        `${path}:${line}: sleeps. Wait for an event, a message or a latch, or permit it with "// Sleep: <reason>"`,
      ]
    }),
  )
}

/** The software speaks of itself and its users, not of how it came to be written. */
export function ownWords({ path, text }: SourceFile): string[] {
  const foreign = [
    /\b(?:this|an earlier|a previous|the previous|another|a later) session\b/gi,
    /\bspik(?:e|es|ed)\b/gi,
    /\b(?:helper|coding|language|AI)[ -](?:agent|model|assistant)s?\b/gi,
    /\bsub-?agents?\b|\bLLMs?\b|\bchat ?bots?\b/gi,
    /\b(?:this|your|the given|the original) prompt\b|\bprompted to\b/gi,
    /\b(?:the|this|my) brief\b|\bthe lead (?:says|merges|decides|wants|completes)\b/gi,
    /(?<![\w.])\/work\/\w|\bshared\/(?:design|style)\.md|(?<![\w/])(?:design|style)\.md\b/g,
  ]
  return foreign.flatMap(words =>
    [...text.matchAll(words)].map(
      match => `${path}:${lineAt(text, match.index)}: "${match[0]}" is about how the project is made`,
    ),
  )
}

export const RULES_PER_FILE = {
  layering,
  operatingSystemOnlyInPlatform,
  fileNames,
  openingComment,
  fileLength,
  entryLength,
  lineLength,
  issueInTodo,
  noSleep,
  ownWords,
} satisfies Record<string, (file: SourceFile) => string[]>

export function protocolsWrittenDown(paths: readonly string[]): string[] {
  return LAYERS_WITH_PROTOCOL.filter(
    layer =>
      paths.some(path => path.startsWith(`src/${layer}/`)) && !paths.includes(`src/${layer}/README.md`),
  ).map(layer => `src/${layer}/ has no README.md that writes its protocol down step by step`)
}

export function layersInArchitecture(paths: readonly string[], architecture: string): string[] {
  const layers = new Set(paths.filter(isSource).map(layerOf))
  return [...layers]
    .filter(layer => layer !== 'index' && !new RegExp(`\\b${layer}(?:/|\\.ts)`).test(architecture))
    .map(layer => `ARCHITECTURE.md does not mention the layer ${layer}`)
}

export function longFilesExist(paths: readonly string[]): string[] {
  return Object.keys(LONG_FILES)
    .filter(path => !paths.includes(path))
    .map(path => `LONG_FILES names ${path}, which does not exist`)
}
