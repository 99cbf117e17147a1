/**
 * Who may read a dashboard: whoever has its address, which has a random token in it, in a browser of this machine.
 * Invariant: a page of another origin gets nothing, whatever it knows, and nobody can find the token out by asking.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** 128 bits, as text that needs no escapes in an address. */
export function newToken(): string {
  return randomBytes(16).toString('base64url')
}

/** What every answer says, errors too: nothing from elsewhere, in no frame, and no trace of the address. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'cache-control': 'no-store',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

/** Why a request is refused, or `undefined`. Checked in this order: who is refused first learns least. */
export function refusal(
  { method, headers, url = '/' }: Pick<IncomingMessage, 'method' | 'headers' | 'url'>,
  { token, port }: { token: string; port: number },
): { status: number; why: string } | undefined {
  const hosts = [`127.0.0.1:${port}`, `localhost:${port}`]
  // A name that leads here although it is of somebody else (DNS rebinding) would make a foreign page one of this origin.
  if (!hosts.includes(headers.host ?? ''))
    return { status: 403, why: 'This host name is not that of the dashboard' }
  const { origin } = headers
  const site = headers['sec-fetch-site']
  if (origin !== undefined && !hosts.some(host => origin === `http://${host}`)) {
    return { status: 403, why: 'Pages of other origins are refused' }
  }
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    return { status: 403, why: 'Pages of other sites are refused' }
  }
  if (!isSame(url.split('/')[1]?.split('?')[0] ?? '', token)) {
    return {
      status: 403,
      why: 'The token is wrong: open the address that was printed when the dashboard started',
    }
  }
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, why: 'A dashboard is only read' }
  return undefined
}

/** How long it takes says nothing about where they differ, nor about their lengths. */
function isSame(given: string, token: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(token))
}
