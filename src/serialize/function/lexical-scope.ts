/**
 * The names that a region of source text declares, and the region around it: what decides whether an identifier
 * belongs to the function itself or to its surroundings.
 */
import { childrenOf, type SyntaxNode } from './parser.ts'

export class LexicalScope {
  readonly names = new Set<string>()
  readonly parent: LexicalScope | undefined

  constructor(parent?: LexicalScope) {
    this.parent = parent
  }

  /** Whether this region or one around it declares `name`. */
  declares(name: string): boolean {
    return this.names.has(name) || (this.parent?.declares(name) ?? false)
  }

  /** Declares the names that a parameter or declaration binds. */
  declarePattern(pattern: SyntaxNode | null | undefined): void {
    for (const name of boundNames(pattern)) this.names.add(name)
  }

  /** Declares what belongs to this block alone: `let`, `const`, classes and functions. */
  declareBlock(statements: readonly SyntaxNode[]): void {
    for (const statement of statements) {
      if (statement.type === 'FunctionDeclaration' || statement.type === 'ClassDeclaration') {
        this.declarePattern(statement.id)
      } else if (statement.type === 'VariableDeclaration' && statement.kind !== 'var') {
        for (const { id } of statement.declarations) this.declarePattern(id)
      }
    }
  }

  /** Declares every `var` below `node` that belongs to the same function. */
  declareVariables(node: SyntaxNode): void {
    switch (node.type) {
      case 'FunctionDeclaration':
      case 'FunctionExpression':
      case 'ArrowFunctionExpression':
      case 'ClassBody':
        return
      case 'VariableDeclaration':
        if (node.kind === 'var') for (const { id } of node.declarations) this.declarePattern(id)
        break
      default:
        break
    }
    for (const child of childrenOf(node)) this.declareVariables(child)
  }
}

/** The names that a pattern binds: `{ a, b: [c = 1, ...d] }` binds a, c and d. */
export function* boundNames(pattern: SyntaxNode | null | undefined): Generator<string> {
  switch (pattern?.type) {
    case 'Identifier':
      yield pattern.name
      break
    case 'ObjectPattern':
      for (const property of pattern.properties) {
        yield* boundNames(property.type === 'RestElement' ? property.argument : property.value)
      }
      break
    case 'ArrayPattern':
      for (const element of pattern.elements) yield* boundNames(element)
      break
    case 'AssignmentPattern':
      yield* boundNames(pattern.left)
      break
    case 'RestElement':
      yield* boundNames(pattern.argument)
      break
    default:
      break
  }
}
