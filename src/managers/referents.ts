/** The objects behind proxies, where both are in one thread: what a server is given by a client may be one of its own. */
import { BaseProxy, idIn } from './base-proxy.ts'

type Find = (id: number) => object | undefined

const servers = new Map<string, Find>()

/** Has the objects of a server be found, until the function that is returned is called. */
export function addReferents(server: string, find: Find): () => void {
  servers.set(server, find)
  return () => servers.delete(server)
}

/** The object that a proxy stands for, if that is in this thread; any other value as it is. */
export function referentOf(value: unknown): unknown {
  if (!(value instanceof BaseProxy)) return value
  for (const [server, find] of servers) {
    const id = idIn(server, value)
    if (id !== undefined) return find(id) ?? value
  }
  return value
}
