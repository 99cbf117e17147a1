/** Options of node:tls for both sides. TLS 1.2 is the oldest version that is spoken, whatever they say. */
import type { ConnectionOptions, TlsOptions } from 'node:tls'
import { invalidArgument } from '../errors.ts'
import { type ParsedAddress, addressText } from './address.ts'

const OLDEST = 'TLSv1.2'

/** node:tls, which is loaded when it is first needed: it takes some milliseconds. */
export function tlsModule(): typeof import('node:tls') {
  return process.getBuiltinModule('node:tls')
}

/**
 * The options to use; `undefined` for a connection without TLS.
 *
 * @throws TypeError for TLS where there is none; RangeError for a version that is too old.
 */
export function tlsSettings<Options extends TlsOptions | ConnectionOptions>(
  address: ParsedAddress,
  tls: Options | undefined,
): Options | undefined {
  const isTls = tls !== undefined || (address.family === 'AF_INET' && address.isTls)
  if (!isTls) return undefined
  if (address.family !== 'AF_INET') {
    throw invalidArgument(
      TypeError,
      `TLS is for hosts and ports, and the address is ${addressText(address)}\nTo fix: leave "tls" out: such a connection does not leave the machine`,
    )
  }
  if (tls !== undefined && (typeof tls !== 'object' || tls === null)) {
    throw invalidArgument(
      TypeError,
      `"tls" must be an object with options of node:tls, got ${tls === null ? 'null' : `a ${typeof tls}`}\nTo fix: pass { key, cert }, or { ca } to connect`,
    )
  }
  const given = tls as TlsOptions | undefined
  if (
    given?.minVersion === 'TLSv1' ||
    given?.minVersion === 'TLSv1.1' ||
    given?.secureProtocol !== undefined
  ) {
    throw invalidArgument(
      RangeError,
      `"tls" must not allow versions before ${OLDEST}\nTo fix: leave out "minVersion" and "secureProtocol"`,
    )
  }
  return { ...tls, minVersion: given?.minVersion ?? OLDEST } as Options
}
