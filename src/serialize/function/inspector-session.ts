/**
 * What only V8's inspector tells about a value: a function's place and the variables it captured, the target of a
 * bound function, private fields, the entries of weak collections. The session belongs to this thread, opens no port
 * and answers before `post()` returns. Nothing stays enabled after a call: with the debugger enabled `await` is nine
 * times slower.
 */
import { createRequire } from 'node:module'
import type inspectorModule from 'node:inspector'
import vm from 'node:vm'

/** A variable scope of a function, innermost first. */
export interface ScopeView {
  /** `Module`, `Closure (name)`, `Block`, `Catch`, `Script`, `Global`, `With Block`. */
  description: string
  /** Holds the values of now; it is a new object at each look, except for the global object. */
  variables: Record<string, unknown>
}

/** Where V8 says that a function starts. */
export interface FunctionLocation {
  scriptId: string
  lineNumber: number
  columnNumber: number
}

export interface FunctionView {
  location: FunctionLocation | undefined
  scopes: readonly ScopeView[]
  bound: { target: Function; thisValue: unknown; arguments: readonly unknown[] } | undefined
}

/** What the inspector says about a script. The source has to be asked for. */
export interface ScriptFacts {
  scriptId: string
  url: string
  startLine: number
  startColumn: number
  isModule: boolean
  sourceMapUrl: string
}

interface RemoteObject {
  objectId?: string
  type: string
  subtype?: string
  value?: unknown
  unserializableValue?: string
}

interface Properties {
  result?: { name: string }[]
  internalProperties?: { name: string; value?: RemoteObject }[]
  privateProperties?: { name: string; value?: RemoteObject; get?: RemoteObject; set?: RemoteObject }[]
}

const objectGroup = 'multiproc'
let session: Inspector | undefined
let unavailable: string | undefined

/** The session of this thread, or `undefined` where the runtime has none (see `whyNoInspector`). */
export function inspector(): Inspector | undefined {
  if (session || unavailable !== undefined) return session
  try {
    if (process.versions['bun'] || process.versions['deno'])
      throw new Error('this runtime has no inspector session')
    session = new Inspector()
  } catch (error) {
    unavailable = error instanceof Error ? error.message : String(error)
  }
  return session
}

/** Why `inspector()` is undefined. */
export function whyNoInspector(): string | undefined {
  return unavailable
}

export class Inspector {
  private readonly session: inspectorModule.Session
  /** The real object through which values go in and out of the protocol. */
  private readonly holder: { value?: unknown; result?: unknown } = {}
  private readonly holderId: string
  private debuggerScripts: ScriptFacts[] | undefined
  private depth = 0

  constructor() {
    const { Session } = createRequire(import.meta.url)('node:inspector') as typeof inspectorModule
    this.session = new Session()
    this.session.connect()
    // In Jest and in vm contexts our `globalThis` is not the one that the protocol evaluates in.
    const mainGlobal = vm.runInThisContext('globalThis') as Record<string, unknown>
    const key = temporaryKey()
    Object.defineProperty(mainGlobal, key, { value: this.holder, configurable: true })
    try {
      const { result } = this.post('Runtime.evaluate', {
        expression: `globalThis[${JSON.stringify(key)}]`,
        objectGroup: 'multiproc-holder',
      }) as { result: RemoteObject }
      this.holderId = result.objectId as string
    } finally {
      delete mainGlobal[key]
    }
  }

  /** Runs `work`, then frees every remote object that it made and leaves the debugger disabled. */
  use<T>(work: () => T): T {
    this.depth++
    try {
      return work()
    } finally {
      if (--this.depth === 0) this.cleanUp()
    }
  }

  private cleanUp(): void {
    this.holder.value = this.holder.result = undefined
    if (this.debuggerScripts) {
      this.debuggerScripts = undefined
      this.post('Debugger.disable')
    }
    this.post('Runtime.releaseObjectGroup', { objectGroup })
  }

  lookAtFunction(fn: Function): FunctionView {
    const properties = this.propertiesOf(fn)
    const internal = (name: string) =>
      properties.internalProperties?.find(property => property.name === name)?.value
    const target = internal('[[TargetFunction]]')
    return {
      location: internal('[[FunctionLocation]]')?.value as FunctionLocation | undefined,
      scopes: this.scopesOf(internal('[[Scopes]]')),
      bound: target && {
        target: this.fetch(target) as Function,
        thisValue: this.fetch(internal('[[BoundThis]]')),
        arguments: Array.from(this.fetch(internal('[[BoundArgs]]')) as unknown[]),
      },
    }
  }

  /** The private fields of an object, in the order in which they were added. */
  privateFieldsOf(object: object): { name: string; value: unknown }[] {
    const fields: { name: string; value: unknown }[] = []
    for (const { name, value } of this.propertiesOf(object).privateProperties ?? []) {
      if (value) fields.push({ name, value: this.fetch(value) })
    }
    return fields
  }

  /** The own properties that are not array elements. */
  namedPropertiesOf(array: object): string[] {
    const { result = [] } = this.post('Runtime.getProperties', {
      objectId: this.remote(array),
      ownProperties: true,
      nonIndexedPropertiesOnly: true,
    }) as Properties
    return result.filter(({ name }) => name !== '__proto__').map(({ name }) => name)
  }

  /** Keys and values of a WeakMap or WeakSet (whose values equal the keys). */
  entriesOf(collection: object): (readonly [key: object, value: unknown])[] {
    const entries = this.propertiesOf(collection).internalProperties?.find(
      ({ name }) => name === '[[Entries]]',
    )
    const list = (this.fetch(entries?.value) ?? []) as ({ key?: object; value: unknown } | undefined)[]
    return Array.from(list, entry => [entry?.key ?? (entry?.value as object), entry?.value] as const)
  }

  /** `pending`, `fulfilled` or `rejected`. */
  stateOf(promise: object): string {
    const state = this.propertiesOf(promise).internalProperties?.find(
      ({ name }) => name === '[[PromiseState]]',
    )
    return String(state?.value?.value)
  }

  /** Every script that is alive. Switches the debugger on until the end of the current `use()`. */
  scripts(): readonly ScriptFacts[] {
    if (this.debuggerScripts) return this.debuggerScripts
    const found: ScriptFacts[] = []
    const onScript = ({ params }: { params: inspectorModule.Debugger.ScriptParsedEventDataType }) => {
      found.push({
        scriptId: params.scriptId,
        url: params.url,
        startLine: params.startLine,
        startColumn: params.startColumn,
        isModule: params.isModule ?? false,
        sourceMapUrl: params.sourceMapURL ?? '',
      })
    }
    this.session.on('Debugger.scriptParsed', onScript)
    try {
      this.debuggerScripts = found
      this.post('Debugger.enable')
    } finally {
      this.session.off('Debugger.scriptParsed', onScript)
    }
    return found
  }

  sourceOf(scriptId: string): string {
    this.scripts()
    return (this.post('Debugger.getScriptSource', { scriptId }) as { scriptSource: string }).scriptSource
  }

  /** The number by which heap snapshots call an object. */
  heapIdOf(object: object): number {
    const { heapSnapshotObjectId } = this.post('HeapProfiler.getHeapObjectId', {
      objectId: this.remote(object),
    }) as { heapSnapshotObjectId: string }
    return Number(heapSnapshotObjectId)
  }

  /** The object of a heap snapshot. `global` is the global object of its realm, which may be a vm context's. */
  objectOfHeapId(id: number, global: object): unknown {
    const { result } = this.post('HeapProfiler.getObjectByHeapObjectId', {
      objectId: String(id),
      objectGroup,
    }) as { result: RemoteObject }
    if (result.objectId === undefined) return this.fetch(result)
    // The protocol does not pass objects between realms, but our holder may be looked up in the other one.
    const key = temporaryKey()
    Object.defineProperty(global, key, { value: this.holder, configurable: true })
    try {
      this.call(result.objectId, `function(){ globalThis[${JSON.stringify(key)}].result = this }`)
      return this.holder.result
    } finally {
      Reflect.deleteProperty(global, key)
    }
  }

  private scopesOf(list: RemoteObject | undefined): ScopeView[] {
    const scopes: ScopeView[] = []
    const array = (this.fetch(list) ?? []) as { description: string; object: Record<string, unknown> }[]
    // It looks like an array to us, but is a list of V8's own without a length.
    for (let index = 0; array[index]; index++) {
      const { description, object } = array[index] as (typeof array)[number]
      scopes.push({ description, variables: object })
    }
    return scopes
  }

  private propertiesOf(value: object): Properties {
    return this.post('Runtime.getProperties', {
      objectId: this.remote(value),
      ownProperties: true,
    }) as Properties
  }

  /** The protocol's id of a real value. */
  private remote(value: object): string {
    this.holder.value = value
    return this.call(this.holderId, 'function(){ return this.value }').objectId as string
  }

  /** The real value of what the protocol describes. */
  private fetch(remote: RemoteObject | undefined): unknown {
    if (!remote) return undefined
    if (remote.objectId !== undefined) {
      this.call(remote.objectId, 'function(holder){ holder.result = this }', [{ objectId: this.holderId }])
      return this.holder.result
    }
    if (remote.type === 'bigint') return BigInt((remote.unserializableValue as string).slice(0, -1))
    if (remote.unserializableValue !== undefined) return Number(remote.unserializableValue)
    return remote.subtype === 'null' ? null : remote.value
  }

  private call(objectId: string, functionDeclaration: string, args?: { objectId: string }[]): RemoteObject {
    return (
      this.post('Runtime.callFunctionOn', {
        objectId,
        functionDeclaration,
        arguments: args,
        objectGroup,
      }) as { result: RemoteObject }
    ).result
  }

  private post(method: string, parameters: object = {}): unknown {
    let failure: Error | null | undefined
    let answer: unknown
    let isAnswered = false
    this.session.post(method, parameters, (error, result) => {
      isAnswered = true
      failure = error
      answer = result
    })
    if (!isAnswered) throw new Error(`the inspector answered ${method} too late`)
    if (failure) throw new Error(`${method}: ${failure.message}`)
    return answer
  }
}

/** A property name that nobody else uses, for the moment in which a realm's global object holds it. */
function temporaryKey(): string {
  return `multiproc:${Math.random().toString(36).slice(2)}`
}
