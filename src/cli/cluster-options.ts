/** The options by which `multiproc worker`, `cluster` and `map` reach a cluster, in one place for all. */
import { readFileSync } from 'node:fs'
import type { ClusterOptions } from '../pool/cluster-option.ts'
import type { OptionSyntax } from './command-syntax.ts'
import { UsageError } from './usage-error.ts'

const variable = 'MULTIPROC_CLUSTER'

export const CLUSTER_OPTIONS = {
  cluster: {
    value: 'url',
    help: `the NATS server, such as nats://host:4222; several with commas. Default: ${variable} of the environment`,
  },
  'key-file': {
    value: 'file',
    completes: 'file',
    help: 'the key of the pool. Default: MULTIPROC_AUTH_KEY, or the file that MULTIPROC_AUTH_KEY_FILE names',
  },
  creds: { value: 'file', completes: 'file', help: 'a file with NATS credentials' },
  nkey: { value: 'file', completes: 'file', help: 'a file with the seed of an NKey of NATS' },
  'tls-ca': {
    value: 'file',
    completes: 'file',
    help: 'the certificate of the authority that has signed that of the server',
  },
  'tls-cert': { value: 'file', completes: 'file', help: 'a certificate of this program' },
  'tls-key': { value: 'file', completes: 'file', help: 'the key of that certificate' },
  'inbox-prefix': {
    value: 'subject',
    help: 'where answers of the server come to, as the rights of the user say. Default: _INBOX',
  },
} as const satisfies Record<string, OptionSyntax>

/** What was given of these. @throws UsageError. */
export function clusterOptions(
  values: { [K in keyof typeof CLUSTER_OPTIONS]?: string },
  defaultUrl?: string,
): ClusterOptions {
  const servers = values.cluster ?? process.env[variable] ?? defaultUrl
  if (servers === undefined || servers === '') {
    throw new UsageError(
      `It is not said where the cluster is\nTo fix: pass --cluster nats://host:4222, or set ${variable}`,
    )
  }
  const { 'tls-ca': ca, 'tls-cert': cert, 'tls-key': key } = values
  return {
    servers,
    ...(values['key-file'] === undefined ? {} : { authKey: readKey(values['key-file']) }),
    ...(values.creds === undefined ? {} : { credentials: values.creds }),
    ...(values.nkey === undefined ? {} : { nkey: values.nkey }),
    ...(values['inbox-prefix'] === undefined ? {} : { inboxPrefix: values['inbox-prefix'] }),
    ...(ca === undefined && cert === undefined && key === undefined ? {} : { tls: { ca, cert, key } }),
  }
}

function readKey(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new UsageError(`Cannot read the key: ${(error as Error).message}\nTo fix: pass the path of a file`)
  }
}

/** Pools by name, with commas between them. */
export function poolNames(text: string | undefined): string[] | undefined {
  const names = text?.split(',').filter(name => name !== '')
  return names === undefined || names.length === 0 ? undefined : names
}

/** The message of an error, for people: the options of the API that it advises are none of a command. */
export function messageForShell(error: Error): string {
  if ((error as { code?: unknown }).code !== 'ERR_CLUSTER_CONNECTION') return error.message
  const [what] = error.message.split('\nTo fix:')
  return `${what}\nTo fix: see that the server runs ("multiproc cluster dev" starts one here), that --cluster or ${variable} has its address, and that the network lets this machine through`
}

/** Does `act`; an option that makes no sense is said as wrong usage, and a cluster that cannot be used as a failure. */
export async function orUsageError<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    throw asUsageError(error)
  }
}

/** The same for what is done at once. */
export function orUsageErrorNow<T>(act: () => T): T {
  try {
    return act()
  } catch (error) {
    throw asUsageError(error)
  }
}

function asUsageError(error: unknown): unknown {
  const isUsage = (error as { code?: unknown }).code === 'ERR_INVALID_ARGUMENT'
  return isUsage ? new UsageError((error as Error).message) : error
}
