/**
 * Where a listener is: a path, a name or a host and a port, in each of the forms that people write.
 * Invariant: `parseAddress(addressText(address))` is the same address again.
 */
import { isIP } from 'node:net'
import { invalidArgument } from '../errors.ts'
import {
  LOCAL_FAMILY,
  assertLocalName,
  isPipeName,
  newLocalName,
  shownName,
} from '../platform/socket-path.ts'

/** Kinds of addresses, as Python calls them. `AF_INET` is TCP, over IPv4 or IPv6. */
export type AddressFamily = 'AF_INET' | 'AF_UNIX' | 'AF_PIPE'

/**
 * Where to listen or connect: the path of a Unix socket, `'\0name'` (Linux), `'\\\\.\\pipe\\name'` (Windows),
 * `[host, port]`, `{ host, port }`, or text such as `'tcp://host:port'`, `'tls://host:port'` and `'unix:/path'`.
 */
export type Address =
  | string
  | readonly [host: string, port: number]
  | { readonly host: string; readonly port: number }

/** An address, taken apart. `isTls` when it was written with `tls://`. */
export type ParsedAddress =
  | { readonly family: 'AF_INET'; readonly host: string; readonly port: number; readonly isTls: boolean }
  | { readonly family: 'AF_UNIX' | 'AF_PIPE'; readonly path: string }

const FAMILIES: readonly string[] = ['AF_INET', 'AF_UNIX', 'AF_PIPE'] satisfies AddressFamily[]
const PORT_MAX = 65_535
const TO_FIX =
  'To fix: pass [host, port], "tcp://host:port", "tls://host:port", the path of a Unix socket, or "\\\\\\\\.\\\\pipe\\\\name" on Windows'

/**
 * Takes an address apart.
 *
 * @throws TypeError or RangeError for what is no address.
 */
export function parseAddress(address: Address | ParsedAddress): ParsedAddress {
  if (typeof address === 'string') return parseText(address)
  if (Array.isArray(address) && address.length === 2) return internet(address[0], address[1], false)
  if (typeof address === 'object' && address !== null) {
    if ('path' in address && typeof address.path === 'string') return local(address.path)
    if ('host' in address && 'port' in address)
      return internet(address.host, address.port, 'isTls' in address && address.isTls === true)
  }
  throw invalidArgument(
    TypeError,
    `An address must be a string or [host, port], got ${address === null ? 'null' : `a ${typeof address}`}\n${TO_FIX}`,
  )
}

function parseText(text: string): ParsedAddress {
  const [, scheme, rest = ''] = /^(tcp|tls|unix):(.*)$/s.exec(text) ?? []
  if (scheme === undefined) return local(text)
  if (scheme === 'unix') return local(rest.replace(/^\/\/(?=\/)/, '').replace(/^@/, '\0'))
  const [, bracketed, plain, port] = /^\/\/(?:\[([^\]]+)\]|([^:/[\]]+)):(\d{1,5})\/?$/.exec(rest) ?? []
  if (port === undefined) {
    throw invalidArgument(RangeError, `"${text}" is no address\n${TO_FIX}`)
  }
  return internet((bracketed ?? plain)!, Number(port), scheme === 'tls')
}

function local(path: string): ParsedAddress {
  if (path === '' || path === '\0') {
    throw invalidArgument(RangeError, `An address must not be empty\n${TO_FIX}`)
  }
  return { family: isPipeName(path) ? 'AF_PIPE' : 'AF_UNIX', path }
}

function internet(host: unknown, port: unknown, isTls: boolean): ParsedAddress {
  if (typeof host !== 'string' || host === '') {
    throw invalidArgument(
      TypeError,
      `The host of an address must be a string that is not empty, got ${typeof host === 'string' ? '""' : String(host)}\n` +
        'To fix: pass a name such as "localhost", or "0.0.0.0" for all interfaces',
    )
  }
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > PORT_MAX) {
    throw invalidArgument(
      RangeError,
      `The port of an address must be a whole number from 0 to ${PORT_MAX}, got ${String(port)}\n` +
        'To fix: pass such a number; 0 has the system choose one that is free',
    )
  }
  return { family: 'AF_INET', host, port, isTls }
}

/** An address as text, which `parseAddress()` takes. */
export function addressText(address: ParsedAddress): string {
  if (address.family !== 'AF_INET')
    return address.family === 'AF_PIPE' ? address.path : `unix:${shownName(address.path)}`
  const { host, port, isTls } = address
  return `${isTls ? 'tls' : 'tcp'}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`
}

/** An address in the form that Python gives it: `[host, port]`, or the path. */
export function plainAddress(address: ParsedAddress): string | [host: string, port: number] {
  return address.family === 'AF_INET' ? [address.host, address.port] : address.path
}

/**
 * Throws when nothing of this family can be had on this system, or when `family` is another one.
 *
 * @throws RangeError when the families differ; ProcessError `ERR_NOT_SUPPORTED`.
 */
export function assertUsable(address: ParsedAddress, family: AddressFamily | undefined): void {
  if (family !== undefined && family !== address.family) {
    assertFamily(family)
    throw invalidArgument(
      RangeError,
      `"family" is "${family}", and the address ${addressText(address)} is of "${address.family}"\n` +
        'To fix: leave "family" out: it follows from the address',
    )
  }
  if (address.family !== 'AF_INET') assertLocalName(address.path)
}

/** Whether only this machine can reach a listener there. */
export function isOfThisMachine(address: ParsedAddress): boolean {
  if (address.family !== 'AF_INET') return true
  const host = address.host.toLowerCase().replace(/^::ffff:/, '')
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

function assertFamily(family: unknown): asserts family is AddressFamily {
  if (typeof family === 'string' && FAMILIES.includes(family)) return
  throw invalidArgument(
    RangeError,
    `There is no family of addresses ${JSON.stringify(family)}\nTo fix: use one of ${FAMILIES.map(each => `"${each}"`).join(', ')}`,
  )
}

/**
 * The family of an address, as Python's `multiprocessing.connection.address_type`.
 *
 * @throws TypeError or RangeError for what is no address.
 *
 * @example
 * ```ts
 * import { addressType } from 'multiproc'
 *
 * console.log(addressType(['localhost', 5000])) // AF_INET
 * console.log(addressType('/tmp/socket')) // AF_UNIX
 * ```
 */
export function addressType(address: Address): AddressFamily {
  return parseAddress(address).family
}

/**
 * An address at which a new listener can be: a free port of this machine for `AF_INET`, else a name that nobody else
 * has, as Python's `multiprocessing.connection.arbitrary_address`.
 *
 * @throws RangeError for another family; ProcessError `ERR_NOT_SUPPORTED` for one that this system does not have.
 *
 * @example
 * ```ts
 * import { arbitraryAddress } from 'multiproc'
 *
 * console.log(arbitraryAddress('AF_INET')) // [ 'localhost', 0 ]
 * ```
 */
export function arbitraryAddress(
  family: AddressFamily = LOCAL_FAMILY,
): string | [host: string, port: number] {
  assertFamily(family)
  if (family === 'AF_INET') return ['localhost', 0]
  const name = newLocalName()
  assertUsable({ family: LOCAL_FAMILY, path: name }, family)
  return name
}
