/**
 * Why a connection to a NATS server could not be made, in words, and whether another attempt could end otherwise.
 * Invariant: what a person has to change is final, so that nobody waits for it.
 */
import type { ClusterSettings } from '../pool/cluster-option.ts'
import type { Greeting } from './server-greeting.ts'

/** What is to be said, and for what is final also what to do. */
export type ConnectFailure = { isFinal: false; what: string } | { isFinal: true; what: string; toFix: string }

/** Codes of Node.js and OpenSSL for certificates and the talk about them. */
const tlsCodes =
  /^(?:ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|INVALID_|HOSTNAME_|PATH_)/
/** The server does not know the user, or not any more. */
export function isNotLetIn(error: unknown): error is Error {
  return error instanceof Error && /Authorization|Authentication/.test(error.name)
}

/** `greeting`: of the server that there was, if any. */
export function connectFailure(
  settings: ClusterSettings,
  cause: unknown,
  greeting: Greeting | undefined,
): ConnectFailure {
  const { name, message, code = '' } = cause as NodeJS.ErrnoException
  if (isNotLetIn(cause)) {
    return { isFinal: true, what: `the server refuses ${identityOf(settings)}`, toFix: howToLogIn(settings) }
  }
  if (message === "server does not support 'tls'") {
    return {
      isFinal: true,
      what: 'the server has no TLS, and nothing is sent to it without',
      toFix:
        'configure "tls { cert_file, key_file }" at the server, or, in a network that you trust, use nats:// and no "tls"',
    }
  }
  if (greeting?.isCertificateWanted === true && settings.tls?.cert === undefined) {
    return {
      isFinal: true,
      what: 'the server asks for a certificate of this program, and none was given',
      toFix: 'pass "tls.cert" and "tls.key" (--tls-cert, --tls-key)',
    }
  }
  if (tlsCodes.test(code)) {
    return {
      isFinal: true,
      what: `no TLS with the server: ${message} (${code})`,
      toFix:
        'pass the certificate of the authority that has signed that of the server as "tls.ca" (--tls-ca), and connect to a name that is in it',
    }
  }
  // With TLS 1.3 a server refuses a certificate after the client believes to be connected, and the client hears nothing.
  if (name === 'TimeoutError' && greeting?.isCertificateWanted === true && settings.tls?.cert !== undefined) {
    return {
      isFinal: true,
      what: `the server does not take the certificate ${settings.tls.cert}`,
      toFix: 'pass one that is signed by the "ca_file" of the server, and has not run out',
    }
  }
  if (name === 'TimeoutError') return { isFinal: false, what: 'it does not answer' }
  return { isFinal: false, what: message }
}

function identityOf({ servers, credentials, nkey, tls }: ClusterSettings): string {
  const { username, password } = new URL(servers[0]!)
  if (credentials !== undefined) return `the credentials in ${credentials}`
  if (nkey !== undefined) return `the NKey in ${nkey}`
  if (password !== '') return `the user "${decodeURIComponent(username)}" with this password`
  if (username !== '') return 'this token'
  return tls?.cert === undefined ? 'who does not say who it is' : `who has the certificate ${tls.cert}`
}

function howToLogIn({ servers, credentials, nkey, tls }: ClusterSettings): string {
  const isNobody =
    new URL(servers[0]!).username === '' && [credentials, nkey, tls?.cert].every(given => given === undefined)
  return isNobody
    ? 'say who this program is: nats://user:password@host, nats://token@host, a file of "credentials" (--creds), or an "nkey" (--nkey)'
    : 'compare with the users in the configuration of the server, and write special characters in a URL as %40 and so on'
}
