/** What runs in the child of `BaseManager.start()`: the server, until it is told to shut down. */
import type { Address } from '../connection/address.ts'
import type { PipeConnection } from '../queue/pipe-connection.ts'
import type { TlsOptions } from 'node:tls'
import { builtInType } from './built-in-types.ts'
import type { ManagerPlace } from './manager-place.ts'
import { ManagerServer } from './manager-server.ts'
import type { ServedType } from './served-type.ts'

/** What the child is given. */
export interface ManagerProcessStart {
  address: Address
  authKey: Uint8Array
  tls: TlsOptions | undefined
  /** A type of the library by its name, since both sides have it. */
  types: readonly (ServedType | string)[]
  initializer: ((...args: never[]) => unknown) | undefined
  initArgs: readonly unknown[]
  /** Gets the place when clients can connect. */
  listening: PipeConnection<ManagerPlace, ManagerPlace>
}

/** The target of the process. */
export async function serveInChild(start: ManagerProcessStart): Promise<void> {
  const { address, authKey, tls, types, initializer, initArgs, listening } = start
  await initializer?.(...(initArgs as never[]))
  const served = types.map(type => (typeof type === 'string' ? builtInType(type) : type))
  const server = new ManagerServer(new Map(served.map(type => [type.typeId, type])), {
    address,
    authKey,
    tls,
  })
  // Ctrl-C goes to all processes of the terminal. The program decides when the manager ends, and it ends with the program.
  const ignore = (): void => {}
  process.on('SIGINT', ignore)
  try {
    await server.listen()
    await listening.send(server.place)
    listening.close()
    await server.serveForever()
  } finally {
    process.off('SIGINT', ignore)
  }
}
