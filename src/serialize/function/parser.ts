/**
 * The JavaScript parser and the walk over its tree. It is loaded at the first function that needs it, since most
 * programs send only exported functions, which are never parsed.
 */
import { createRequire } from 'node:module'
import type * as acorn from 'acorn'

/** Any node of a syntax tree. */
export type SyntaxNode = acorn.AnyNode

let parser: typeof acorn | undefined

const options = {
  ecmaVersion: 'latest',
  allowSuperOutsideMethod: true,
  allowAwaitOutsideFunction: true,
  allowImportExportEverywhere: true,
  allowReturnOutsideFunction: true,
  allowHashBang: true,
  checkPrivateFields: false,
} as const

/** Parses `source`, and throws a `SyntaxError` if it isn't JavaScript. */
export function parse(source: string, sourceType: 'script' | 'module'): acorn.Program {
  parser ??= createRequire(import.meta.url)('acorn') as typeof acorn
  return parser.parse(source, { ...options, sourceType })
}

/** The nodes directly below `node`, in no particular order. */
export function* childrenOf(node: SyntaxNode): Generator<SyntaxNode> {
  for (const value of Object.values(node) as unknown[]) {
    if (Array.isArray(value)) {
      for (const element of value) if (isNode(element)) yield element
    } else if (isNode(value)) yield value
  }
}

/** The nodes around `offset`, outermost first. */
export function nodesAround(root: SyntaxNode, offset: number): SyntaxNode[] {
  const found: SyntaxNode[] = []
  let node: SyntaxNode | undefined = root
  while (node) {
    found.push(node)
    let inner: SyntaxNode | undefined
    for (const child of childrenOf(node)) {
      if (offset >= child.start && offset < child.end) inner = child
    }
    node = inner
  }
  return found
}

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string'
}
