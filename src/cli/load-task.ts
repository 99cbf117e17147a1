/**
 * Finds the function that `file#member` names, in the process of the command line (to complain early and well) and
 * in the workers (to call it). Invariant: both find the same one.
 */
import { existsSync, statSync } from 'node:fs'
import { extname, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { UsageError } from './usage-error.ts'

/** Where a task is. Plain data, to be sent to workers. */
export interface TaskLocation {
  /** As the user wrote it, for messages. */
  reference: string
  /** `file:` URL of the module. */
  url: string
  /** The names after `#`, between dots; none for the default export or the only function. */
  members: readonly string[]
}

export type Task = (...args: unknown[]) => unknown

type Members = Readonly<Record<string, unknown>>

/**
 * Reads a reference such as `./resize.mjs#images.resize`. A file whose name contains `#` is found, too.
 *
 * @throws UsageError when there is no such file.
 */
export function locateTask(reference: string): TaskLocation {
  const hash = isFile(pathOf(reference)) ? -1 : reference.lastIndexOf('#')
  const file = hash < 0 ? reference : reference.slice(0, hash)
  const member = hash < 0 ? '' : reference.slice(hash + 1)
  const path = pathOf(file)
  if (!isFile(path)) {
    throw new UsageError(
      `Cannot find the file "${file}": ${existsSync(path) ? 'it is no file' : `there is no ${path}`}\nTo fix: name a module with an exported function, such as ./resize.mjs#resize`,
    )
  }
  return {
    reference,
    url: pathToFileURL(path).href,
    members: member === '' ? [] : member.split('.'),
  }
}

/**
 * Imports the module and gives its function.
 *
 * @throws UsageError when the module cannot be loaded, or has no such function.
 */
export async function loadTask(location: TaskLocation): Promise<Task> {
  let namespace: Members
  try {
    namespace = (await import(location.url)) as Members
  } catch (error) {
    throw loadError(location, error)
  }
  return findTask(location, namespace)
}

function findTask({ reference, members }: TaskLocation, namespace: Members): Task {
  if (members.length === 0) return onlyTask(reference, namespace)
  let owner: unknown
  let found: unknown = namespace
  for (const [depth, name] of members.entries()) {
    owner = found
    found = memberOf(owner, name)
    // Node finds the names of a CommonJS module's exports by reading its text, and may miss some.
    if (found === undefined && depth === 0) {
      owner = namespace['default']
      found = memberOf(owner, name)
    }
    if (found === undefined || found === null) {
      const path = members.slice(0, depth + 1).join('.')
      throw new UsageError(
        `"${reference}" names no function: ${depth === 0 ? 'the module has no export' : 'there is no'} "${path}"\nTo fix: ${choices(depth === 0 ? namespace : owner, members.slice(0, depth))}`,
      )
    }
  }
  if (!isCallable(found)) {
    throw new UsageError(
      `"${reference}" names no function: "${members.join('.')}" is ${kindOf(found)}\nTo fix: ${choices(namespace, [])}`,
    )
  }
  // A member of an object is called as its method. An export of a module has no "this".
  return owner === namespace ? found : found.bind(owner)
}

function onlyTask(reference: string, namespace: Members): Task {
  if (isCallable(namespace['default'])) return namespace['default']
  const names = callableNames(namespace)
  if (names.length === 1) return namespace[names[0]!] as Task
  throw new UsageError(
    `"${reference}" does not say which function to call: the module has no default export that is one, and ${names.length === 0 ? 'exports no function' : `${names.length} others`}\nTo fix: ${choices(namespace, [])}`,
  )
}

/** What the user can write instead. */
function choices(owner: unknown, path: readonly string[]): string {
  const names = callableNames(owner).map(name => `#${[...path, name].join('.')}`)
  if (names.length > 0) return `use ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', ...' : ''}`
  const others = Object.keys(Object(owner) as object)
  return `export a function from the module (it exports ${others.length === 0 ? 'nothing' : others.slice(0, 20).join(', ')})`
}

function callableNames(owner: unknown): string[] {
  const members = Object(owner) as Members
  const names = Object.keys(members).filter(name => isCallable(members[name]))
  const own = members['default']
  if (
    typeof own === 'object' &&
    own !== null &&
    Object.prototype.toString.call(owner) === '[object Module]'
  ) {
    // "module.exports" names the same object again on newer versions of Node.js.
    for (const name of callableNames(own)) if (!names.includes(name)) names.push(name)
  }
  return names
}

function memberOf(owner: unknown, name: string): unknown {
  return owner === undefined || owner === null ? undefined : (Object(owner) as Members)[name]
}

function isCallable(value: unknown): value is Task {
  return typeof value === 'function' && !isClass(value)
}

function isClass(value: unknown): boolean {
  return typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value))
}

function kindOf(value: unknown): string {
  if (isClass(value)) return 'a class'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

function loadError({ reference, url }: TaskLocation, error: unknown): UsageError {
  const path = fileURLToPath(url)
  const code = (error as NodeJS.ErrnoException | null)?.code
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION' && /^\.[cm]?tsx?$/.test(extname(path))) {
    return new UsageError(
      `Cannot load "${reference}": Node.js ${process.versions.node} does not run TypeScript by itself, which begins with 22.18\nTo fix: compile the file and name the .js file, or use a newer Node.js, or install tsx and run: NODE_OPTIONS="--import tsx" multiproc ...`,
      { cause: error },
    )
  }
  // The user's own module failed: its stack is what helps.
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  const facts = stack.split(/\n\s+at (?:async )?loadTask\b/)[0]!
  return new UsageError(
    `Cannot load "${reference}": its module threw while it was imported\n${facts.replace(/^/gm, '    ')}\nTo fix: see the error above`,
    { cause: error },
  )
}

function pathOf(file: string): string {
  return file.startsWith('file:') ? fileURLToPath(file) : resolve(file)
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}
