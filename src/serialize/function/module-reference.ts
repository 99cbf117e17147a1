/** How a payload names a module that the receiving process has to load before it can rebuild the values. */
export interface ModuleReference {
  kind: 'esm' | 'cjs'
  /** A URL, or the bare specifier (`lodash`, `#internal`) that `base` imports. */
  url: string
  /** The URL of the importing module, for bare specifiers. */
  base?: string
  /** The path within the library, for its own modules: on another machine their URL may be another one. */
  own?: string
  /** The SHA-256 of the module, where it travels as a file; see bundles.ts. */
  bundle?: string
  attributes?: Record<string, string>
}

/** What tells one reference from another. */
export function keyOfModule({ kind, url, base = '', bundle, attributes }: ModuleReference): string {
  return `${kind} ${url} ${base}${bundle === undefined ? '' : ` ${bundle}`}${attributes ? ` ${JSON.stringify(attributes)}` : ''}`
}

/** What a payload is made of. `body` is plain data: primitives, arrays, plain objects and `Uint8Array`. */
export interface GraphPayload {
  /** To be loaded with `loadModules()` before `decodeGraph()`. */
  modules: ModuleReference[]
  body: unknown
  /** Whether the receiver has to have registered a reducer. */
  needsReducer?: boolean
}
