/**
 * Compiles one function or class from its text, at the line and column of its original file, inside a wrapper that
 * declares its captured variables: constants where their values exist, so that V8 optimises them like the original's.
 */
import vm from 'node:vm'
import { importOption } from './dynamic-import.ts'
import type { FunctionNode, ScriptNode, VariableNode } from './graph-node.ts'
import { nameRebuiltScript } from './rebuilt-scripts.ts'

export interface BuiltFunction {
  fn: Function
  /** Gives the variables of `lateVariables` their values, in order. */
  setLate(values: readonly unknown[]): void
}

/** Values for captured variables that exist already, and the variables whose values come later. */
export interface Captures {
  early: readonly { variable: VariableNode; value: unknown }[]
  late: readonly VariableNode[]
}

type Wrapper = (values: readonly unknown[], late: { set?: (values: readonly unknown[]) => void }) => unknown

const compiled = new Map<string, Wrapper>()
const compiledMax = 1024

export function buildFunction(
  node: FunctionNode,
  script: ScriptNode,
  { early, late }: Captures,
): BuiltFunction {
  const { prefix, form } = node
  const values = `${prefix}values`
  const constants: string[] = []
  const assigned: string[] = []
  for (const [index, { variable }] of early.entries()) {
    const declaration = `${variable.name}=${values}[${index}]`
    if (variable.isAssigned) assigned.push(declaration)
    else constants.push(declaration)
  }
  assigned.push(...late.map(({ name }) => name))
  const lateAssignments = late.map(({ name }, index) => `${name}=${values}[${index}]`).join(';')
  const open = form === 'method' ? '({' : form === 'class-member' ? '(class{static ' : '('
  const close = form === 'expression' ? '\n)' : '\n})'
  const head =
    `(function(${values},${prefix}late){${node.isStrict ? '"use strict";' : ''}` +
    (constants.length > 0 ? `const ${constants.join(',')};` : '') +
    (assigned.length > 0 ? `let ${assigned.join(',')};` : '') +
    (late.length > 0 ? `${prefix}late.set=${values}=>{${lateAssignments}};` : '') +
    `return${open}`
  const wrapper = compile(`${head}${node.source}${close}})`, node, script, head.length)
  const lateSetter: { set?: (values: readonly unknown[]) => void } = {}
  const result = wrapper(
    early.map(({ value }) => value),
    lateSetter,
  )
  const fn = form === 'expression' ? (result as Function) : memberOf(result as object, node)
  return { fn, setLate: lateValues => lateSetter.set?.(lateValues) }
}

function compile(code: string, node: FunctionNode, script: ScriptNode, headLength: number): Wrapper {
  const filename = nameRebuiltScript(script.url || 'multiproc:anonymous', script)
  const key = `${filename}:${node.line}:${node.column}\n${code}`
  let wrapper = compiled.get(key)
  if (wrapper) return wrapper
  const options = {
    filename,
    lineOffset: node.line,
    columnOffset: node.column - headLength,
    ...(node.usesImport ? importOption() : {}),
  } as vm.ScriptOptions
  wrapper = new vm.Script(code, options).runInThisContext() as Wrapper
  if (compiled.size >= compiledMax) compiled.delete(compiled.keys().next().value as string)
  compiled.set(key, wrapper)
  return wrapper
}

/** The only method of an object literal or class. */
function memberOf(holder: object, { accessor }: FunctionNode): Function {
  const standard = ['length', 'name', 'prototype']
  const key = Reflect.ownKeys(holder).find(
    name => typeof holder !== 'function' || !standard.includes(String(name)),
  )
  const descriptor = Object.getOwnPropertyDescriptor(holder, key as PropertyKey) as PropertyDescriptor
  return (accessor ? descriptor[accessor] : descriptor.value) as Function
}
