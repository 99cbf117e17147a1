/**
 * What a function's source text says about its needs: the variables of its surroundings, which of them it assigns,
 * and whether it uses `this`, `super`, `eval` and the like. It depends on nothing but the text, so that it is
 * computed once per text. Positions are offsets into the text.
 */
import type * as acorn from 'acorn'
import { LexicalScope } from './lexical-scope.ts'
import { isStrictBody, parseFunction, type ParsedFunction, type SourceForm } from './function-source.ts'
import { childrenOf, type SyntaxNode } from './parser.ts'

/** A place where the function mentions a variable of its surroundings. */
export interface VariableUse {
  start: number
  end: number
  /** It stands for both key and value: `{ name }`. */
  isShorthand: boolean
  /** It is called: `name()`. */
  isCalled: boolean
}

/** A variable of the surroundings. */
export interface FreeVariable {
  isAssigned: boolean
  /** It is used other than as `name.member`. */
  isUsedWhole: boolean
  members: Set<string>
  uses: VariableUse[]
  /** It is only read while a class is being defined, so that V8 may have dropped it since. */
  isDefinitionTime: boolean
}

/** Start and end of a piece of source text. */
export interface Span {
  start: number
  end: number
}

export interface FunctionAnalysis {
  form: SourceForm
  kind: 'class' | 'arrow' | 'function' | 'method'
  /** What has to be added to a position in the text to get one in the tree. */
  offset: number
  root: acorn.Function | acorn.Class
  /** The span of a method's computed key with its brackets' contents, or of its private name. */
  computedKey: Span | undefined
  accessor: 'get' | 'set' | undefined
  isStrict: boolean
  free: Map<string, FreeVariable>
  /** The uses of the function's own name inside it. */
  selfUses: VariableUse[]
  /** Every identifier of the text: no generated name may be one of them. */
  identifiers: Set<string>
  /** Where `this` means the `this` of the surroundings. */
  thisUses: Span[]
  importMetaUses: Span[]
  /** It is a method that uses `super`, or an arrow that uses the `super` of its surroundings. */
  usesSuper: boolean
  usesOuterNewTarget: boolean
  usesDirectEval: boolean
  usesDynamicImport: boolean
  /** Private names of a class around the function. */
  privateNames: Set<string>
}

/** Where in the function the walk is. */
interface Place {
  scope: LexicalScope
  /** `this`, `super` and `new.target` still mean those of the surroundings. */
  isOuter: boolean
  /** Inside the root method, where `super` is its home object's. */
  isRootMethod: boolean
  isDefinitionTime: boolean
  privateNames: ReadonlySet<string>
}

interface Mention {
  node: acorn.Identifier
  place: Place
  isAssigned: boolean
  member: string | undefined
  isShorthand: boolean
  isCalled: boolean
}

const analyses = new Map<string, FunctionAnalysis>()
const analysesMax = 4096

/** Analyses the text of a function or class; throws a `SyntaxError` if it can't be parsed. */
export function analyseFunction(text: string): FunctionAnalysis {
  let analysis = analyses.get(text)
  if (!analysis) {
    if (analyses.size >= analysesMax) analyses.clear()
    analysis = new FunctionWalk(text).analyse()
    analyses.set(text, analysis)
  }
  return analysis
}

class FunctionWalk {
  private readonly text: string
  private readonly analysis: FunctionAnalysis
  private readonly parsed: ParsedFunction
  private readonly mentions: Mention[] = []
  private readonly ownName: string | undefined

  constructor(text: string) {
    this.text = text
    const parsed = parseFunction(text)
    const { form, offset, root, member } = parsed
    this.parsed = parsed
    this.ownName = root.id?.name
    const type = (root as SyntaxNode).type
    this.analysis = {
      form,
      kind:
        type === 'ClassExpression'
          ? 'class'
          : type === 'ArrowFunctionExpression'
            ? 'arrow'
            : form === 'expression'
              ? 'function'
              : 'method',
      offset,
      root,
      computedKey:
        member && (member.computed || member.key.type === 'PrivateIdentifier')
          ? this.span(member.key)
          : undefined,
      accessor: member?.kind === 'get' || member?.kind === 'set' ? member.kind : undefined,
      isStrict: isStrictBody(root.body),
      free: new Map(),
      selfUses: [],
      identifiers: new Set(),
      thisUses: [],
      importMetaUses: [],
      usesSuper: false,
      usesOuterNewTarget: false,
      usesDirectEval: false,
      usesDynamicImport: false,
      privateNames: new Set(),
    }
  }

  analyse(): FunctionAnalysis {
    const { analysis, parsed } = this
    const scope = new LexicalScope()
    const place: Place = {
      scope,
      isOuter: true,
      isRootMethod: false,
      isDefinitionTime: false,
      privateNames: new Set(),
    }
    this.visit(parsed.root as SyntaxNode, place)
    if (analysis.kind === 'class') {
      analysis.thisUses = []
      analysis.usesSuper = false
    }
    for (const mention of this.mentions) this.record(mention)
    for (const [name] of this.text.matchAll(/[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*/gu)) {
      analysis.identifiers.add(name)
    }
    return analysis
  }

  private span(node: { start: number; end: number }): Span {
    return { start: node.start - this.parsed.offset, end: node.end - this.parsed.offset }
  }

  private record({ node, place, isAssigned, member, isShorthand, isCalled }: Mention): void {
    const use = { ...this.span(node), isShorthand, isCalled }
    const isDeclared = place.scope.declares(node.name)
    if (isDeclared) {
      if (node.name === this.ownName && this.isOwnName(place.scope)) this.analysis.selfUses.push(use)
      return
    }
    let variable = this.analysis.free.get(node.name)
    if (!variable) {
      variable = {
        isAssigned: false,
        isUsedWhole: false,
        members: new Set(),
        uses: [],
        isDefinitionTime: false,
      }
      this.analysis.free.set(node.name, variable)
    }
    variable.uses.push(use)
    if (place.isDefinitionTime) variable.isDefinitionTime = true
    if (isAssigned) variable.isAssigned = true
    if (member !== undefined && !isAssigned) variable.members.add(member)
    else variable.isUsedWhole = true
  }

  /** Whether the innermost declaration of the own name is the one that the function's name makes. */
  private isOwnName(from: LexicalScope): boolean {
    const name = this.ownName as string
    for (let scope: LexicalScope | undefined = from; scope; scope = scope.parent) {
      if (scope.names.has(name)) return scope === this.ownNameScope
    }
    return false
  }

  private ownNameScope: LexicalScope | undefined

  private mention(node: acorn.Identifier, place: Place, how: Partial<Mention> = {}): void {
    this.mentions.push({
      node,
      place,
      isAssigned: false,
      member: undefined,
      isShorthand: false,
      isCalled: false,
      ...how,
    })
  }

  private visitAll(nodes: readonly (SyntaxNode | null | undefined)[], place: Place): void {
    for (const node of nodes) this.visit(node, place)
  }

  private visit(node: SyntaxNode | null | undefined, place: Place): void {
    if (!node) return
    const { analysis } = this
    switch (node.type) {
      case 'Identifier':
        this.mention(node, place)
        return
      case 'ThisExpression':
        if (place.isOuter) analysis.thisUses.push(this.span(node))
        return
      case 'Super':
        if (place.isOuter || place.isRootMethod) analysis.usesSuper = true
        return
      case 'MetaProperty':
        if (node.meta.name === 'import') analysis.importMetaUses.push(this.span(node))
        else if (place.isOuter) analysis.usesOuterNewTarget = true
        return
      case 'PrivateIdentifier':
        if (!place.privateNames.has(node.name)) analysis.privateNames.add(`#${node.name}`)
        return
      case 'ImportExpression':
        analysis.usesDynamicImport = true
        break
      case 'WithStatement':
        analysis.usesDirectEval = true
        break
      case 'FunctionDeclaration':
      case 'FunctionExpression':
      case 'ArrowFunctionExpression':
        this.visitFunction(node, place)
        return
      case 'ClassDeclaration':
      case 'ClassExpression':
        this.visitClass(node, place)
        return
      case 'BlockStatement': {
        const scope = new LexicalScope(place.scope)
        scope.declareBlock(node.body)
        this.visitAll(node.body, { ...place, scope })
        return
      }
      case 'SwitchStatement': {
        this.visit(node.discriminant, place)
        const inner = { ...place, scope: new LexicalScope(place.scope) }
        for (const { consequent } of node.cases) inner.scope.declareBlock(consequent)
        for (const { test, consequent } of node.cases) this.visitAll([test, ...consequent], inner)
        return
      }
      case 'ForStatement':
      case 'ForInStatement':
      case 'ForOfStatement':
        this.visitLoop(node, place)
        return
      case 'CatchClause': {
        const scope = new LexicalScope(place.scope)
        scope.declarePattern(node.param)
        const inner = { ...place, scope }
        this.visitDeclared(node.param, inner)
        this.visit(node.body, inner)
        return
      }
      case 'VariableDeclarator':
        this.visitDeclared(node.id, place)
        this.visit(node.init, place)
        return
      case 'AssignmentExpression':
        this.visitTarget(node.left, place)
        this.visit(node.right, place)
        return
      case 'UpdateExpression':
        this.visitTarget(node.argument, place)
        return
      case 'UnaryExpression':
        if (node.operator === 'delete') this.visitTarget(node.argument, place)
        else this.visit(node.argument, place)
        return
      case 'MemberExpression':
        this.visitMember(node, place)
        return
      case 'Property':
        if (node.computed) this.visit(node.key, place)
        if (node.shorthand && node.value.type === 'Identifier') {
          this.mention(node.value, place, { isShorthand: true })
        } else this.visit(node.value, place)
        return
      case 'LabeledStatement':
        this.visit(node.body, place)
        return
      case 'BreakStatement':
      case 'ContinueStatement':
        return
      case 'CallExpression':
        if (node.callee.type === 'Identifier') {
          if (node.callee.name === 'eval') analysis.usesDirectEval = true
          this.mention(node.callee, place, { isCalled: true })
        } else this.visit(node.callee, place)
        this.visitAll(node.arguments, place)
        return
      case 'TaggedTemplateExpression':
        if (node.tag.type === 'Identifier') this.mention(node.tag, place, { isCalled: true })
        else this.visit(node.tag, place)
        this.visit(node.quasi, place)
        return
      default:
        break
    }
    for (const child of childrenOf(node)) this.visit(child, place)
  }

  private visitMember(node: acorn.MemberExpression, place: Place): void {
    if (node.object.type === 'Identifier' && !node.computed && node.property.type === 'Identifier') {
      this.mention(node.object, place, { member: node.property.name })
      return
    }
    this.visit(node.object, place)
    if (node.computed || node.property.type === 'PrivateIdentifier') this.visit(node.property, place)
  }

  private visitLoop(
    node: acorn.ForStatement | acorn.ForInStatement | acorn.ForOfStatement,
    place: Place,
  ): void {
    const inner = { ...place, scope: new LexicalScope(place.scope) }
    const head = node.type === 'ForStatement' ? node.init : node.left
    if (head?.type === 'VariableDeclaration') {
      inner.scope.declareBlock([head])
      this.visit(head, inner)
    } else if (node.type === 'ForStatement') this.visit(head, inner)
    else this.visitTarget(head, inner)
    if (node.type === 'ForStatement') this.visitAll([node.test, node.update], inner)
    else this.visit(node.right, inner)
    this.visit(node.body, inner)
  }

  private visitFunction(
    node: acorn.FunctionDeclaration | acorn.AnonymousFunctionDeclaration | acorn.Function,
    place: Place,
  ): void {
    const type = (node as SyntaxNode).type
    const isArrow = type === 'ArrowFunctionExpression'
    const isRoot = node === this.parsed.root
    let outer = place.scope
    if (type === 'FunctionExpression' && node.id) {
      outer = new LexicalScope(outer)
      outer.names.add(node.id.name)
      if (isRoot) this.ownNameScope = outer
    }
    const scope = new LexicalScope(outer)
    if (!isArrow) scope.names.add('arguments')
    const inner: Place = {
      ...place,
      scope,
      isOuter: isArrow && place.isOuter,
      isRootMethod: isArrow ? place.isRootMethod : isRoot && this.analysis.kind === 'method',
    }
    for (const parameter of node.params) scope.declarePattern(parameter)
    for (const parameter of node.params) this.visitDeclared(parameter, inner)
    if (node.body.type !== 'BlockStatement') {
      this.visit(node.body, inner)
      return
    }
    scope.declareVariables(node.body)
    const body = new LexicalScope(scope)
    body.declareBlock(node.body.body)
    this.visitAll(node.body.body, { ...inner, scope: body })
  }

  /**
   * The heritage and static state of the root class are sent as values, and the keys of its methods are read from
   * the class itself: V8 keeps the variables in these only while the class is being defined.
   */
  private visitClass(node: acorn.Class, place: Place): void {
    const isRoot = node === this.parsed.root
    const scope = new LexicalScope(place.scope)
    if (node.id) scope.names.add(node.id.name)
    const privateNames = new Set(place.privateNames)
    for (const member of node.body.body) {
      if (member.type !== 'StaticBlock' && member.key.type === 'PrivateIdentifier') {
        privateNames.add(member.key.name)
      }
    }
    const inner: Place = { ...place, scope, privateNames, isRootMethod: false }
    if (!isRoot) this.visit(node.superClass, inner)
    for (const member of node.body.body) {
      if (member.type === 'StaticBlock') {
        if (!isRoot) this.visitStaticBlock(member, inner)
        continue
      }
      const isField = member.type === 'PropertyDefinition'
      if (isRoot && isField && member.static) continue
      if (member.computed && (!isRoot || isField)) {
        this.visit(member.key, { ...inner, isDefinitionTime: isRoot })
      }
      if (!member.value) continue
      const value = isField ? { ...inner, scope: new LexicalScope(scope), isOuter: false } : inner
      if (isField) value.scope.names.add('arguments')
      this.visit(member.value, value)
    }
  }

  private visitStaticBlock(block: acorn.StaticBlock, place: Place): void {
    const scope = new LexicalScope(place.scope)
    for (const statement of block.body) scope.declareVariables(statement)
    scope.declareBlock(block.body)
    this.visitAll(block.body, { ...place, scope, isOuter: false })
  }

  /** What is assigned to: `a`, `a.b`, `[a, b.c] = ...`, `({ a = 1 } = ...)`. */
  private visitTarget(target: SyntaxNode | null | undefined, place: Place, isShorthand = false): void {
    switch (target?.type) {
      case undefined:
        return
      case 'Identifier':
        this.mention(target, place, { isAssigned: true, isShorthand })
        return
      case 'ObjectPattern':
        for (const property of target.properties) {
          if (property.type === 'RestElement') this.visitTarget(property.argument, place)
          else {
            if (property.computed) this.visit(property.key, place)
            this.visitTarget(property.value, place, property.shorthand)
          }
        }
        return
      case 'ArrayPattern':
        for (const element of target.elements) this.visitTarget(element, place)
        return
      case 'AssignmentPattern':
        this.visitTarget(target.left, place, isShorthand)
        this.visit(target.right, place)
        return
      case 'RestElement':
        this.visitTarget(target.argument, place)
        return
      case 'MemberExpression':
        // Writing to a member needs the object itself.
        this.visit(target.object, place)
        if (target.computed || target.property.type === 'PrivateIdentifier')
          this.visit(target.property, place)
        return
      default:
        this.visit(target, place)
    }
  }

  /** A declaration: its names are no uses, but the defaults and computed keys in it are code. */
  private visitDeclared(pattern: SyntaxNode | null | undefined, place: Place): void {
    switch (pattern?.type) {
      case 'ObjectPattern':
        for (const property of pattern.properties) {
          if (property.type === 'RestElement') this.visitDeclared(property.argument, place)
          else {
            if (property.computed) this.visit(property.key, place)
            this.visitDeclared(property.value, place)
          }
        }
        return
      case 'ArrayPattern':
        for (const element of pattern.elements) this.visitDeclared(element, place)
        return
      case 'AssignmentPattern':
        this.visitDeclared(pattern.left, place)
        this.visit(pattern.right, place)
        return
      case 'RestElement':
        this.visitDeclared(pattern.argument, place)
        return
      default:
        return
    }
  }
}
