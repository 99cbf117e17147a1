/**
 * Private fields of instances of classes that travel by value. They are read through the inspector. To write them,
 * the class text gets a hook: a static block that can assign the fields, and a last field that stops construction as
 * soon as all private fields are there, before the constructor's own code runs (see "Private state" in the README).
 */
import type * as acorn from 'acorn'
import { isNativeText, sourceTextOf, type Encoding, type FunctionRecord } from './encoding.ts'
import { builtinName } from './builtin-names.ts'
import { findExportOf } from './export-reference.ts'
import { analyseFunction, type FunctionAnalysis } from './function-analysis.ts'
import { isOwnModule } from '../own-modules.ts'
import type { PrivateState } from './graph-node.ts'
import { inspector } from './inspector-session.ts'
import { nodeModuleMember } from './node-module-index.ts'
import type { Trail } from './trail.ts'

/** The private members that a class gives to its instances. */
export interface PrivateMembers {
  fields: readonly string[]
  hasMethods: boolean
}

const none: PrivateMembers = { fields: [], hasMethods: false }
const membersOfClass = new WeakMap<Function, PrivateMembers>()

/** What a class itself declares, not what it inherits. */
export function privateMembersOf(type: Function): PrivateMembers {
  let members = membersOfClass.get(type)
  if (!members) {
    members = readMembers(type)
    membersOfClass.set(type, members)
  }
  return members
}

export function hasPrivateMembers(type: Function): boolean {
  const { fields, hasMethods } = privateMembersOf(type)
  return hasMethods || fields.length > 0
}

function readMembers(type: Function): PrivateMembers {
  const text = sourceTextOf(type)
  if (!/^class\b/.test(text) || !text.includes('#') || isNativeText(text)) return none
  const fields: string[] = []
  let hasMethods = false
  for (const member of classMembers(analyseFunction(text))) {
    if (member.type === 'StaticBlock' || member.static || member.key.type !== 'PrivateIdentifier') continue
    if (member.type === 'MethodDefinition') hasMethods = true
    else if (!isHookField(member.key.name)) fields.push(`#${member.key.name}`)
  }
  return { fields, hasMethods }
}

/** The members of an analysed class. */
export function classMembers(analysis: FunctionAnalysis): acorn.ClassBody['body'] {
  return (analysis.root as acorn.Class).body.body
}

/** Whether a static block is the one that a hook added in another process. */
export function isHookBlock(text: string): boolean {
  return /^static\s*\{\s*\$mp\d*_hook\.set=/.test(text)
}

/** Whether a private field is the one that a hook added in another process. */
function isHookField(name: string): boolean {
  return /^\$mp\d*_end$/.test(name)
}

/** The private fields of an object, class by class from the base on; `undefined` when it has none. */
export function privateStateOf(encoding: Encoding, object: object, trail: Trail): PrivateState[] | undefined {
  const classes: Function[] = []
  for (
    let holder = Object.getPrototypeOf(object) as object | null;
    holder;
    holder = Object.getPrototypeOf(holder) as object | null
  ) {
    const type: unknown = Object.getOwnPropertyDescriptor(holder, 'constructor')?.value
    if (typeof type !== 'function' || type.prototype !== holder || !hasPrivateMembers(type)) continue
    // Classes of the platform are rebuilt by their constructors, or refused before.
    if (!builtinName(type) && !nodeModuleMember(type)) classes.unshift(type)
  }
  if (classes.length === 0) return undefined
  const session = inspector()
  const fields = session?.privateFieldsOf(object) ?? []
  // An object with the class's prototype that its constructor never saw has no private state. Of private methods
  // alone nobody can tell.
  const hasFields = classes.some(type => privateMembersOf(type).fields.length > 0)
  if (session && hasFields && fields.length === 0) return undefined
  const states: PrivateState[] = []
  for (const type of classes) {
    const { fields: names } = privateMembersOf(type)
    const found = session && findExportOf(type)
    if (found && isOwnModule(found.module.url)) {
      throw trail.error(
        `is ${/^[AEIOU]/.test(type.name) ? 'an' : 'a'} ${type.name} of multiproc, which belongs to this process`,
        type.name === 'AsyncResult' ? '`await` it first and use the result' : 'make one inside the function',
      )
    }
    if (!session || found) {
      throw trail.error(
        `is an instance of class ${type.name} with private fields (${names.join(', ') || 'methods only'}), which ` +
          (session
            ? `can't be set from outside, and ${type.name} is imported by the other process`
            : `this runtime or its permissions do not let us read`),
        `create it inside the function, or send the data that the constructor of ${type.name} needs`,
      )
    }
    const values = names.map(name => {
      // Two classes of the chain may use one name: fields are listed from the base class on.
      const index = fields.findIndex(field => field.name === name)
      const [field] = index < 0 ? [] : fields.splice(index, 1)
      return encoding.slot(field?.value, trail.toPart(`.${name}`))
    })
    encoding.hookedClasses.add(type)
    states.push({ type: encoding.slot(type, trail.toPart(`class ${type.name}`)), names, values })
  }
  return states
}

/**
 * Whether the class should have a hook although no instance goes along: the copy that it becomes may be given
 * instances later.
 */
export function canBeHooked(record: FunctionRecord): boolean {
  if (!hasPrivateMembers(record.fn)) return false
  const constructor = classMembers(record.analysis).find(
    member => member.type === 'MethodDefinition' && member.kind === 'constructor',
  )
  return !constructor || !isDerived(record) || hasPlainParameters(constructor as acorn.MethodDefinition)
}

function isDerived({ analysis }: FunctionRecord): boolean {
  return Boolean((analysis.root as acorn.Class).superClass)
}

function hasPlainParameters({ value }: acorn.MethodDefinition): boolean {
  return value.params.every(({ type, ...rest }) => {
    return (
      type === 'Identifier' ||
      (type === 'RestElement' && (rest as acorn.RestElement).argument.type === 'Identifier')
    )
  })
}

/** Adds the hook to the text of a class, unless an earlier journey did. */
export function addHook(encoding: Encoding, record: FunctionRecord): void {
  const { analysis, node, edits } = record
  const existing = record.captures.find(({ slot }) => {
    return Array.isArray(slot) && encoding.nodes[slot[0] as number]?.t === 'private-hook'
  })
  if (existing) {
    node.hook = existing.slot
    return
  }
  const hook = `${node.prefix}hook`
  node.hook = encoding.add({ t: 'private-hook' })
  node.variables.push({ name: hook, value: node.hook, isNeededFirst: true })
  const names: string[] = []
  for (const member of classMembers(analysis)) {
    if (member.type === 'PropertyDefinition') {
      if (member.key.type === 'PrivateIdentifier') names.push(`#${member.key.name}`)
      if (!member.static && member.value) guardInitializer(record, member.value, hook)
    } else if (member.type === 'MethodDefinition' && member.kind === 'constructor') {
      guardConstructor(record, member, hook)
    }
  }
  const cases = names.map(name => `case "${name}":object.${name}=value;break;`).join('')
  const end = (analysis.root as acorn.Class).body.end - analysis.offset - 1
  edits.push({
    start: end,
    end,
    text:
      `;#${node.prefix}end=${hook}.active&&${hook}.take(this);` +
      `static{${hook}.set=(object,name,value)=>{switch(name){${cases}}}}`,
  })
}

/** Types of expression that do nothing when they are evaluated. A function keeps the name it gets from its field. */
const inertTypes: ReadonlySet<string> = new Set([
  'Literal',
  'ArrowFunctionExpression',
  'FunctionExpression',
  'Identifier',
  'ThisExpression',
])

/** Initialisers do not run while fields are only being put in place. */
function guardInitializer({ edits, analysis }: FunctionRecord, value: acorn.Expression, hook: string): void {
  if (inertTypes.has(value.type)) return
  const start = value.start - analysis.offset
  const end = value.end - analysis.offset
  edits.push({ start, end: start, text: `${hook}.active?undefined:(` }, { start: end, end, text: ')' })
}

/** The fields of a derived class are put in place by `super()`, which must then come first. */
function guardConstructor(record: FunctionRecord, member: acorn.MethodDefinition, hook: string): void {
  if (!isDerived(record)) return
  const { edits, analysis, trail } = record
  if (!hasPlainParameters(member)) {
    throw trail.error(
      'is a derived class with private fields whose constructor has default values or patterns as parameters',
      'move these into the body of the constructor, or export the class and create the instance inside the function',
    )
  }
  const at = member.value.body.start - analysis.offset + 1
  edits.push({ start: at, end: at, text: `if(${hook}.active)super();` })
}
