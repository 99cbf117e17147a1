/**
 * Gives symbols that travel an identity over all processes, so that a symbol in an argument is the one that a function
 * captured, and one that comes home is the one that left. Symbols are held weakly.
 */
import { randomUUID } from 'node:crypto'

// Symbols may be held weakly in every supported version of Node.js, but the types don't know it yet.
const ids = new WeakMap<WeakKey, string>()
const symbols = new Map<string, WeakRef<WeakKey>>()
const forgotten = new FinalizationRegistry<string>(id => symbols.delete(id))

let processPart: string | undefined
let count = 0

/** The id of a symbol that is neither registered nor well known, the same in every process that got it. */
export function trackSymbol(symbol: symbol): string {
  const key = symbol as unknown as WeakKey
  let id = ids.get(key)
  if (id === undefined) {
    processPart ??= randomUUID()
    id = `${processPart}:${++count}`
    remember(id, key)
  }
  return id
}

/** The symbol with this id; a new one when it has not been here yet. */
export function symbolOf(id: string, description: string | undefined): symbol {
  const known = symbols.get(id)?.deref() as unknown as symbol | undefined
  if (known !== undefined) return known
  const symbol = Symbol(description)
  remember(id, symbol)
  return symbol
}

function remember(id: string, key: WeakKey): void {
  ids.set(key, id)
  symbols.set(id, new WeakRef(key))
  forgotten.register(key, id)
}
