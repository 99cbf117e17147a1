/**
 * Parses the source text of one function, class or method, as `Function.prototype.toString()` gives it. Positions in
 * the tree are those in the text plus `offset`.
 */
import type * as acorn from 'acorn'
import { parse, type SyntaxNode } from './parser.ts'

/** How the text has to be embedded to be an expression. */
export type SourceForm = 'expression' | 'method' | 'class-member'

/** A function's text as a tree. */
export interface ParsedFunction {
  form: SourceForm
  offset: number
  root: acorn.Function | acorn.Class
  member?: acorn.Property | acorn.MethodDefinition
}

/** Parses the text that a function prints as, which is not always an expression by itself. */
export function parseFunction(text: string): ParsedFunction {
  let failure: unknown
  // `import.meta` is only known in modules, and sloppy code only in scripts: one of both fits.
  const attempt = <T>(prefix: string, suffix: string, pick: (program: acorn.Program) => T): T | undefined => {
    for (const sourceType of ['module', 'script'] as const) {
      try {
        return pick(parse(prefix + text + suffix, sourceType))
      } catch (error) {
        failure ??= error
      }
    }
    return undefined
  }
  const expressionOf = (program: acorn.Program) => {
    const [statement] = program.body
    if (statement?.type !== 'ExpressionStatement') throw new SyntaxError('Not an expression')
    return statement.expression
  }
  const root = attempt('(', ')', expressionOf)
  if (root) return { form: 'expression', offset: 1, root: root as acorn.Function | acorn.Class }
  // An arrow function may use the `new.target` of a function around it.
  const open = '(function(){('
  const inner = attempt(open, ')})', program => {
    const { body } = expressionOf(program) as acorn.FunctionExpression
    const [statement] = body.body
    if (statement?.type !== 'ExpressionStatement') throw new SyntaxError('Not an expression')
    return statement.expression
  })
  if (inner) return { form: 'expression', offset: open.length, root: inner as acorn.ArrowFunctionExpression }
  const property = attempt(
    '({',
    '})',
    program => (expressionOf(program) as acorn.ObjectExpression).properties[0],
  )
  if (property?.type === 'Property') {
    return {
      form: 'method',
      offset: 2,
      root: property.value as acorn.Function & SyntaxNode,
      member: property,
    }
  }
  const prefix = '(class extends Object{'
  const member = attempt(
    prefix,
    '})',
    program => (expressionOf(program) as acorn.ClassExpression).body.body[0],
  )
  if (member?.type === 'MethodDefinition') {
    return { form: 'class-member', offset: prefix.length, root: member.value, member }
  }
  throw failure
}

/** Whether a body begins with 'use strict'. */
export function isStrictBody(body: SyntaxNode | readonly SyntaxNode[] | null | undefined): boolean {
  const statements = Array.isArray(body)
    ? (body as readonly SyntaxNode[])
    : (body as SyntaxNode | undefined)?.type === 'BlockStatement'
      ? (body as acorn.BlockStatement).body
      : []
  for (const statement of statements) {
    if (statement.type !== 'ExpressionStatement' || statement.directive === undefined) return false
    if (statement.directive === 'use strict') return true
  }
  return false
}
