/**
 * What the source of a whole script says about a function in it: the imports and exports of its module, the class or
 * function around it, whether it is strict. A script that can't be parsed has none of these, and its functions are
 * then sent by value.
 */
import type * as acorn from 'acorn'
import { isStrictBody } from './function-source.ts'
import { boundNames } from './lexical-scope.ts'
import { nodesAround, parse, type SyntaxNode } from './parser.ts'

/** What a local name of a module stands for. */
export interface ImportBinding {
  specifier: string
  /** The exported name, or `*` for the namespace. */
  name: string
  attributes: Record<string, string> | undefined
}

/** An anonymous default export has no local name, only a position. */
export type ExportedLocal = { local: string } | { defaultAt: number }

/** Who decides what `this` means at a position. */
export type ThisOwner =
  | { kind: 'function'; name: string | undefined; isConstructor: boolean }
  | { kind: 'field' }

/** Expressions whose value is never undefined. */
const definedTypes: ReadonlySet<string> = new Set([
  'Literal',
  'TemplateLiteral',
  'ObjectExpression',
  'ArrayExpression',
  'ArrowFunctionExpression',
  'FunctionExpression',
  'ClassExpression',
  'NewExpression',
  'UpdateExpression',
  'BinaryExpression',
])

export class ModuleSyntax {
  readonly imports = new Map<string, ImportBinding>()
  /** Exported name -> what it stands for in the module. */
  readonly exports = new Map<string, ExportedLocal>()
  readonly isStrict: boolean
  private readonly program: acorn.Program | undefined

  constructor(source: string, isModule: boolean) {
    try {
      this.program = parse(source, isModule ? 'module' : 'script')
    } catch {
      // Not JavaScript that the parser knows: nothing is known about it.
    }
    this.isStrict = isModule || isStrictBody(this.program?.body)
    for (const statement of this.program?.body ?? []) this.read(statement)
  }

  private read(statement: acorn.Statement | acorn.ModuleDeclaration): void {
    if (statement.type === 'ImportDeclaration') this.readImport(statement)
    else if (statement.type === 'ExportNamedDeclaration' && !statement.source) {
      const { declaration } = statement
      if (declaration?.type === 'VariableDeclaration') {
        for (const { id } of declaration.declarations) {
          for (const name of boundNames(id)) this.exports.set(name, { local: name })
        }
      } else if (declaration) this.exports.set(declaration.id.name, { local: declaration.id.name })
      for (const { local, exported } of statement.specifiers) {
        this.exports.set(exportName(exported), { local: exportName(local) })
      }
    } else if (statement.type === 'ExportDefaultDeclaration') {
      const { declaration } = statement
      const named =
        declaration.type === 'Identifier'
          ? declaration.name
          : declaration.type === 'FunctionDeclaration' || declaration.type === 'ClassDeclaration'
            ? declaration.id?.name
            : undefined
      this.exports.set('default', named === undefined ? { defaultAt: declaration.start } : { local: named })
    }
  }

  private readImport(statement: acorn.ImportDeclaration): void {
    const attributes =
      statement.attributes.length > 0
        ? Object.fromEntries(
            statement.attributes.map(({ key, value }) => [exportName(key), String(value.value)]),
          )
        : undefined
    for (const specifier of statement.specifiers) {
      this.imports.set(specifier.local.name, {
        specifier: String(statement.source.value),
        name:
          specifier.type === 'ImportSpecifier'
            ? exportName(specifier.imported)
            : specifier.type === 'ImportDefaultSpecifier'
              ? 'default'
              : '*',
        attributes,
      })
    }
  }

  /** Whether the code at `offset` is strict. V8 does not tell it of a function object. */
  isStrictAt(offset: number): boolean {
    if (this.isStrict) return true
    return this.around(offset).some(
      node =>
        node.type === 'ClassDeclaration' ||
        node.type === 'ClassExpression' ||
        ('body' in node && isStrictBody(node.body)),
    )
  }

  /** Whether a function or class declaration (not an expression) starts at `offset`. */
  isDeclarationAt(offset: number): boolean {
    return this.around(offset).some(node => node.start === offset && node.type === 'FunctionDeclaration')
  }

  /** The function or class field whose `this` the code at `offset` sees; `undefined` at the top level. */
  thisOwnerAt(offset: number): ThisOwner | undefined {
    let owner: ThisOwner | undefined
    let previous: SyntaxNode | undefined
    for (const node of this.around(offset)) {
      if (
        (node.type === 'FunctionExpression' || node.type === 'FunctionDeclaration') &&
        offset > node.start
      ) {
        const method =
          previous?.type === 'MethodDefinition' || previous?.type === 'Property' ? previous : undefined
        const key = method?.key.type === 'Identifier' ? method.key.name : undefined
        owner = {
          kind: 'function',
          name: node.id?.name ?? key,
          isConstructor: method?.kind === 'constructor',
        }
      } else if (node.type === 'StaticBlock') owner = { kind: 'field' }
      else if (node.type === 'PropertyDefinition' && node.value && offset >= node.value.start) {
        owner = { kind: 'field' }
      }
      previous = node
    }
    return owner
  }

  /** The name of the innermost class around `offset`, or of the variable that holds it. */
  classNameAt(offset: number): string | undefined {
    let name: string | undefined
    let previous: SyntaxNode | undefined
    for (const node of this.around(offset)) {
      if (node.type === 'ClassDeclaration' || node.type === 'ClassExpression') {
        const holder =
          previous?.type === 'VariableDeclarator' && previous.id.type === 'Identifier'
            ? previous.id.name
            : undefined
        name = node.id?.name ?? holder
      }
      previous = node
    }
    return name
  }

  /**
   * Whether the variable `name`, as seen from `offset`, was declared with a value that can't be undefined, so that
   * reading undefined means that the declaration has not run.
   */
  isNeverUndefined(name: string, offset: number): boolean {
    for (const node of this.around(offset).reverse()) {
      const body = 'body' in node && Array.isArray(node.body) ? (node.body as SyntaxNode[]) : []
      for (const statement of body) {
        const declaration =
          statement.type === 'ExportNamedDeclaration'
            ? (statement.declaration as SyntaxNode | null)
            : statement
        if (declaration?.type === 'ClassDeclaration' && declaration.id?.name === name) return true
        if (declaration?.type !== 'VariableDeclaration' || declaration.kind !== 'const') continue
        for (const { id, init } of declaration.declarations) {
          if (id.type === 'Identifier' && id.name === name) return init ? definedTypes.has(init.type) : false
        }
      }
    }
    return false
  }

  private around(offset: number): SyntaxNode[] {
    return this.program ? nodesAround(this.program, offset) : []
  }
}

function exportName(node: acorn.Identifier | acorn.Literal): string {
  return node.type === 'Literal' ? String(node.value) : node.name
}
