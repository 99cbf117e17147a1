/**
 * Finds the `this` that an arrow function captured, which V8 does not list among its variables. In this order: the
 * top level of a module or script; the object that `bind()` was given; the object that holds the arrow as a field;
 * a heap snapshot. Where none tells, the call fails: it never guesses, and never stops the debugger to look.
 */
import { globalOfProgram } from './builtin-names.ts'
import { sourceTextOf, type Encoding } from './encoding.ts'
import type { FunctionAnalysis } from './function-analysis.ts'
import { heapMax, HeapSnapshot } from './heap-snapshot.ts'
import { inspector, type FunctionView } from './inspector-session.ts'
import type { ThisOwner } from './module-syntax.ts'
import type { Script } from './script-table.ts'
import type { Trail } from './trail.ts'

/** An arrow keeps its `this` for life. */
const found = new WeakMap<Function, { value: unknown }>()
let hasWarned = false

interface Arrow {
  fn: Function
  text: string
  analysis: FunctionAnalysis
  view: FunctionView
  script: Script | undefined
  start: number
}

/** The captured `this`, or `undefined` for a function that does not use one. */
export function resolveArrowThis(
  encoding: Encoding,
  arrow: Arrow,
  trail: Trail,
): { value: unknown } | undefined {
  const { fn, analysis, script, start } = arrow
  if (analysis.kind !== 'arrow' || analysis.thisUses.length === 0) return undefined
  if (encoding.knownThis.has(fn)) return { value: encoding.knownThis.get(fn) }
  const known = found.get(fn)
  if (known) return known
  const owner = script?.syntax.thisOwnerAt(start)
  if (!owner && script) return { value: topLevelThis(script, arrow.view) }
  const holder = encoding.holders.get(fn)
  if (holder && owner && isFieldOf(holder, owner, arrow.text)) return { value: holder }
  const seen = thisFromSnapshot(fn, arrow.view)
  if (seen) {
    found.set(fn, seen)
    return seen
  }
  const where =
    owner?.kind === 'function'
      ? owner.name === undefined
        ? 'a function'
        : `"${owner.name}"`
      : 'a class field'
  throw trail.error(
    `is an arrow function that uses the \`this\` of ${where} around it, which can't be read in a heap of more than ` +
      `${heapMax / 1024 / 1024} MB`,
    'write `const self = this` outside of it and use `self`, or pass `fn.bind(this)`',
  )
}

function topLevelThis(script: Script, view: FunctionView): unknown {
  if (script.isModule || view.scopes.some(({ description }) => description.startsWith('Module')))
    return undefined
  // A CommonJS module's is its (usually empty) exports; that of a script is the global object of its realm.
  const isCommonJs = view.scopes.some(({ variables, description }) => {
    return description.startsWith('Closure') && Object.hasOwn(variables, 'exports')
  })
  if (isCommonJs || script.url.startsWith('file:')) return {}
  return view.scopes.at(-1)?.variables ?? globalOfProgram()
}

/** Whether the holder's class contains the arrow's text, so that the arrow was made for it, or for one of its kind. */
function isFieldOf(holder: object, owner: ThisOwner, text: string): boolean {
  if (owner.kind !== 'field' && !owner.isConstructor) return false
  let prototype = Object.getPrototypeOf(holder) as object | null
  while (prototype) {
    const type: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
    if (typeof type === 'function' && sourceTextOf(type).includes(text)) return true
    prototype = Object.getPrototypeOf(prototype) as object | null
  }
  return false
}

function thisFromSnapshot(fn: Function, view: FunctionView): { value: unknown } | undefined {
  const session = inspector()
  if (!session) return undefined
  const startMs = performance.now()
  const snapshot = HeapSnapshot.take()
  // Objects get their ids when a snapshot is taken.
  const thisId = snapshot?.thisOfFunction(session.heapIdOf(fn))
  if (thisId === undefined) return undefined
  if (!hasWarned) {
    hasWarned = true
    process.emitWarning(
      `Finding the \`this\` of an arrow function took ${Math.round(performance.now() - startMs)} ms; ` +
        'write `const self = this` outside of it and use `self`, or pass `fn.bind(this)`',
      { type: 'MultiprocWarning', code: 'MULTIPROC_ARROW_THIS' },
    )
  }
  return { value: session.objectOfHeapId(thisId, view.scopes.at(-1)?.variables ?? globalOfProgram()) }
}
