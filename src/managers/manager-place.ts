/** Which manager is meant, and what one needs to be let in. */
import type { ConnectionOptions } from 'node:tls'
import type { ParsedAddress } from '../connection/address.ts'

/** Where a manager is. The name of its server is another one after each start. */
export interface ManagerPlace {
  address: ParsedAddress
  server: string
}

/** For a manager whose key is not that of the program, or that speaks TLS. Never part of what a manager is sent. */
export interface Credentials {
  authKey: Uint8Array
  tls: ConnectionOptions | undefined
}
