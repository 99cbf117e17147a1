/**
 * Who this program is to a NATS server: a user, a token, a file of credentials, an NKey, a certificate. Invariant: files
 * are read again for each connection, so that what was renewed counts without a restart, and what cannot be used is an
 * error before the first.
 */
import { readFileSync } from 'node:fs'
import type { Authenticator, ConnectionOptions } from '@nats-io/transport-node'
import { ClusterError } from '../errors.ts'
import type { ClusterSettings } from '../pool/cluster-option.ts'

type Transport = Pick<typeof import('@nats-io/transport-node'), 'credsAuthenticator' | 'nkeyAuthenticator'>

/** @throws ClusterError `ERR_CLUSTER_SERVER` for a file that is no such thing. */
export function loginOptions(
  { servers, credentials, nkey, tls }: ClusterSettings,
  { credsAuthenticator, nkeyAuthenticator }: Transport,
): ConnectionOptions {
  // All servers of one cluster have the same users.
  const { username, password } = new URL(servers[0]!)
  const isTls = tls !== undefined || servers.some(server => server.startsWith('tls:'))
  return {
    ...(isTls ? { tls: tlsFiles(tls) } : {}),
    ...(credentials === undefined
      ? {}
      : { authenticator: tried('credentials', credentials, credsAuthenticator(latestOf(credentials))) }),
    ...(nkey === undefined
      ? {}
      : { authenticator: tried('nkey', nkey, nkeyAuthenticator(seedIn(latestOf(nkey)))) }),
    ...(username !== '' && password !== ''
      ? { user: decodeURIComponent(username), pass: decodeURIComponent(password) }
      : username === ''
        ? {}
        : { token: decodeURIComponent(username) }),
  }
}

/** The client reads these for each connection. */
function tlsFiles(tls: ClusterSettings['tls']): NonNullable<ConnectionOptions['tls']> {
  const { ca, cert, key } = tls ?? {}
  return {
    ...(ca === undefined ? {} : { caFile: ca }),
    ...(cert === undefined ? {} : { certFile: cert }),
    ...(key === undefined ? {} : { keyFile: key }),
  }
}

/** What the file says now, or said last: one that is just being replaced ends no connection. */
function latestOf(file: string): () => Uint8Array {
  let latest = readFileSync(file)
  return () => {
    try {
      latest = readFileSync(file)
    } catch {
      // It is gone for the moment; if it stays away, the server refuses what it said, when that has ended.
    }
    return latest
  }
}

/** The tools that make such files write comments and empty lines into them. */
function seedIn(read: () => Uint8Array): () => Uint8Array {
  return () => {
    const lines = Buffer.from(read()).toString('latin1').split('\n')
    const seed = lines.map(line => line.trim()).find(line => /^SU[A-Z2-7]+$/.test(line))
    return Buffer.from(seed ?? '')
  }
}

/** An authenticator that throws while it connects would end the client without an error that says why. */
function tried(option: string, file: string, authenticator: Authenticator): Authenticator {
  try {
    const said = authenticator('nonce')
    if (said && 'nkey' in said && said.nkey !== '') return authenticator
  } catch (cause) {
    throw unusable(option, file, cause)
  }
  throw unusable(option, file)
}

function unusable(option: string, file: string, cause?: unknown): ClusterError {
  const what = option === 'nkey' ? 'the seed of an NKey of a user ("SU...")' : 'the credentials of a user'
  return new ClusterError(
    'ERR_CLUSTER_SERVER',
    `Cannot use the cluster: ${file}, the option "cluster.${option}", has not ${what} in it\nTo fix: pass the file that "nsc generate creds" or "nk -gen user" has made`,
    { cause },
  )
}
