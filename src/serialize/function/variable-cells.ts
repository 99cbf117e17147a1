/**
 * Decides which captured variables are assigned by some function of the payload, and gives those that several
 * functions share a cell of their own, through which all of them read and write. V8 does not say whether two closures
 * share a variable, so where neither sharing nor its absence can be proven, the call fails rather than guess.
 */
import { sourceTextOf, type Binding, type Capture, type Encoding, type FunctionRecord } from './encoding.ts'
import type { NodeReference, VariableNode } from './graph-node.ts'
import { replaceUses } from './source-editing.ts'

interface User {
  record: FunctionRecord
  capture: Capture
  binding: Binding
}

/** One variable at run time, and the functions that use it. */
interface Variable {
  users: User[]
  cell?: NodeReference
}

/** Declares the captured variables of every function in its node, and edits the uses of those in cells. */
export function placeVariables(encoding: Encoding): void {
  const cells = new Map<Capture, NodeReference>()
  for (const users of usersByDeclaration(encoding.functions).values()) {
    if (!users.some(({ capture }) => capture.isAssigned)) continue
    for (const variable of separate(users)) {
      const [first] = variable.users
      if (variable.users.length < 2 || !first) continue
      const cell = encoding.add({ t: 'cell', value: first.capture.slot })
      for (const { capture } of variable.users) cells.set(capture, cell)
    }
  }
  for (const record of encoding.functions) {
    for (const capture of record.captures) declare(record, capture, cells.get(capture))
  }
}

function declare(record: FunctionRecord, capture: Capture, cell: NodeReference | undefined): void {
  const { node } = record
  const { name, uses, slot } = capture
  if (cell) {
    const alias = `${node.prefix}cell_${name}`
    node.variables.push({ name: alias, value: cell })
    replaceUses(record, name, uses, `${alias}.v`)
    return
  }
  const variable: VariableNode = { name, value: slot }
  if (capture.alias !== undefined) {
    variable.name = node.prefix + capture.alias
    replaceUses(record, name, uses, variable.name)
  }
  if (capture.isNeededFirst) variable.isNeededFirst = true
  if (capture.isAssigned) variable.isAssigned = true
  node.variables.push(variable)
}

/** Users of what may be the same variable: same name, declared at the same place. */
function usersByDeclaration(records: readonly FunctionRecord[]): Map<string, User[]> {
  const groups = new Map<string, User[]>()
  for (const record of records) {
    for (const capture of record.captures) {
      const { binding, name } = capture
      if (!binding) continue
      const scope = binding.scopes[binding.index]
      const place =
        binding.singleton ??
        [
          binding.scriptId,
          binding.scopes.length - binding.index,
          ...Object.keys(scope?.variables ?? {}),
        ].join()
      const key = `${place}|${name}`
      const users = groups.get(key) ?? []
      users.push({ record, capture, binding })
      groups.set(key, users)
    }
  }
  return groups
}

/** Splits the users of one declaration by the run-time variable that they share. */
function separate(users: readonly User[]): Variable[] {
  const variables: Variable[] = []
  for (const user of users) {
    let shared: Variable | undefined
    for (const variable of variables) {
      const answer = isSameScope(user.binding, (variable.users[0] as User).binding)
      if (answer === 'unknown') {
        const { name } = user.capture
        throw user.record.trail.error(
          `uses the variable "${name}", which is changed by one of several functions that may or may not share it`,
          `keep it in an object: \`const state = { ${name} }\`, and use state.${name}`,
        )
      }
      if (answer === 'same') shared = variable
    }
    if (shared) shared.users.push(user)
    else variables.push({ users: [user] })
  }
  return variables
}

/**
 * Two views of one scope hold identical values all the way out. That alone proves nothing (two counters from one
 * factory look the same), but a function that was declared in the scope exists once per scope.
 */
function isSameScope(one: Binding, other: Binding): 'same' | 'different' | 'unknown' {
  if (one.singleton !== undefined || other.singleton !== undefined) {
    return one.singleton === other.singleton ? 'same' : 'different'
  }
  if (one.scopes === other.scopes) return 'same'
  const inner = one.scopes.slice(one.index)
  const outer = other.scopes.slice(other.index)
  if (inner.length !== outer.length) return 'different'
  let isProven = false
  for (const [index, scope] of inner.entries()) {
    if (/^(?:Module|Script|Global)/.test(scope.description)) break
    const counterpart = outer[index]?.variables ?? {}
    for (const name of Object.keys(scope.variables)) {
      let value: unknown
      let otherValue: unknown
      try {
        value = scope.variables[name]
        otherValue = counterpart[name]
      } catch {
        continue // In its dead zone.
      }
      if (!Object.is(value, otherValue)) return 'different'
      if (index === 0 && typeof value === 'function' && isDeclaredAs(value, name)) isProven = true
    }
  }
  return isProven ? 'same' : 'unknown'
}

function isDeclaredAs(fn: Function, name: string): boolean {
  const match = /^(?:async\s+)?function\s*\*?\s*([\p{ID_Start}$_][\p{ID_Continue}$]*)/u.exec(sourceTextOf(fn))
  return match?.[1] === name
}
