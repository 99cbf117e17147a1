/**
 * The option `cluster` of a pool: where its work goes, and with which key. Checked here, so that a mistake is an error
 * of the constructor; what only the network can tell breaks the pool later.
 */
import { accessSync, constants, readFileSync } from 'node:fs'
import { ProcessError, invalidArgument } from '../errors.ts'
import { type AuthKey, authKeyBytes } from '../connection/auth-key.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import type { Bundle } from './bundle-option.ts'
import type { KeptJob } from './kept-call.ts'
import { checkCount, checkMilliseconds, show } from './option-checks.ts'

/**
 * Where the work of a pool goes: the URL of a NATS server (or several, of one cluster), and what else has to be said.
 * Programs and agents of one pool have the same `authKey`.
 */
export interface ClusterOptions {
  /**
   * `nats://host:4222`, `tls://…`, with `user:password@` or `token@` where the server asks for that; what is special in
   * URLs is written as `%40` and so on. One or several.
   */
  servers: string | readonly string[]
  /**
   * The secret that programs and agents of the pool share: work without it is not run, results without it are not
   * taken. Default: the content of the environment variable `MULTIPROC_AUTH_KEY`, or of the file that
   * `MULTIPROC_AUTH_KEY_FILE` names.
   */
  authKey?: AuthKey | undefined
  /** A file with NATS credentials (`.creds`). */
  credentials?: string | undefined
  /** A file with the seed of an NKey (`SU…`), for servers that know users by their public keys. */
  nkey?: string | undefined
  /** Files of TLS, for servers that ask for more than the system's certificates. */
  tls?: ClusterTlsOptions | undefined
  /**
   * Where the answers of the server come to, `_INBOX` by default. With a prefix of its own for each user, and the right
   * to listen to that alone, users cannot read what is sent to others.
   */
  inboxPrefix?: string | undefined
  /**
   * Milliseconds after which work of a machine that has fallen silent is given to another one; set by whoever uses the
   * pool's name first. Default: 15000.
   */
  lease?: number | undefined
  /** How often a chunk is given to machines that then fall silent, before it fails; as `lease`. Default: 5. */
  maxDeliveries?: number | undefined
  /** On how many servers of a NATS cluster work and results are kept; as `lease`. Default: 1. */
  replicas?: number | undefined
  /**
   * Milliseconds without a server after which all calls fail. Default: 60000, but 5000 for the first connection, where an
   * address that is wrong is likelier than a server that comes back.
   */
  connectionTimeout?: number | undefined
  /** Milliseconds without any agent after which all calls that wait fail. Default: 600000. */
  agentTimeout?: number | undefined
}

/** Paths of PEM files. */
export interface ClusterTlsOptions {
  ca?: string | undefined
  cert?: string | undefined
  key?: string | undefined
}

/** The checked option, for a pool of this name. */
export interface ClusterSettings {
  poolName: string
  servers: string[]
  key: Buffer
  credentials: string | undefined
  nkey: string | undefined
  tls: ClusterTlsOptions | undefined
  inboxPrefix: string
  /** These three belong to the pool, so that what is not given here is what others have set. */
  leaseMs: number | undefined
  deliveriesMax: number | undefined
  replicas: number | undefined
  /** The same for the first connection. */
  firstConnectionMsMax: number
  connectionMsMax: number
  agentMsMax: number
  /** Modules that agents get as files. */
  bundles?: readonly Bundle[]
  /** The call that this link is for, if other programs can go on with it. */
  kept?: KeptJob
}

const CLUSTER_OPTIONS = [
  'servers',
  'authKey',
  'credentials',
  'nkey',
  'tls',
  'inboxPrefix',
  'lease',
  'maxDeliveries',
  'replicas',
  'connectionTimeout',
  'agentTimeout',
] as const

const TLS_OPTIONS = ['ca', 'cert', 'key'] as const

/** A shorter key can be found by trying. */
const keyBytesMin = 16
/** The names of streams and subjects are made of it. */
const poolNames = /^[A-Za-z0-9_-]{1,64}$/
/** Parts of a subject of NATS. */
const inboxPrefixes = /^[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,7}$/
const connectionMsDefault = 60_000
/** Long enough for a server that restarts just then. */
const firstConnectionMsDefault = 5000

/** @throws TypeError or RangeError for what makes no sense, ProcessError `ERR_NOT_FOUND` for a file that is not there. */
export function checkCluster(given: string | ClusterOptions, poolName: unknown): ClusterSettings {
  const options: ClusterOptions = typeof given === 'string' ? { servers: given } : given
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument(
      TypeError,
      `The option "cluster" must be a URL or an object, but it is ${show(given)}\nTo fix: pass the URL of a NATS server, such as 'nats://127.0.0.1:4222'`,
    )
  }
  assertKnownOptions('cluster', options, CLUSTER_OPTIONS)
  if (options.tls !== undefined) assertKnownOptions('cluster.tls', options.tls, TLS_OPTIONS)
  const connectionMsMax = checkMilliseconds('cluster.connectionTimeout', options.connectionTimeout, 100)
  const servers = checkServers(options.servers)
  const { credentials, nkey, inboxPrefix } = options
  assertOneIdentity(servers, { credentials, nkey })
  checkFile('credentials', credentials)
  checkFile('nkey', nkey)
  for (const option of TLS_OPTIONS) checkFile(`tls.${option}`, options.tls?.[option])
  return {
    poolName: checkPoolName(poolName),
    servers,
    key: clusterKey(options.authKey),
    credentials,
    nkey,
    tls: options.tls,
    inboxPrefix: checkInboxPrefix(inboxPrefix),
    leaseMs: checkMilliseconds('cluster.lease', options.lease, 1000),
    deliveriesMax: checkCount('cluster.maxDeliveries', options.maxDeliveries, { max: 1000 }),
    replicas: checkCount('cluster.replicas', options.replicas, { max: 5 }),
    firstConnectionMsMax: connectionMsMax ?? firstConnectionMsDefault,
    connectionMsMax: connectionMsMax ?? connectionMsDefault,
    agentMsMax: checkMilliseconds('cluster.agentTimeout', options.agentTimeout, 100) ?? 600_000,
  }
}

/** @throws TypeError. */
export function checkPoolName(name: unknown): string {
  if (typeof name === 'string' && poolNames.test(name)) return name
  throw invalidArgument(
    TypeError,
    `The name of a pool on a cluster must be 1 to 64 letters, digits, "_" or "-", but it is ${name === undefined ? 'not given' : show(name)}\nTo fix: pass { cluster, name: 'render' }; the agents serve pools by their names`,
  )
}

function checkServers(given: string | readonly string[]): string[] {
  const servers = typeof given === 'string' ? given.split(',') : [...(given ?? [])]
  const isUrl = (text: unknown): boolean =>
    typeof text === 'string' && URL.canParse(text) && /^(?:nats|tls):$/.test(new URL(text).protocol)
  if (servers.length > 0 && servers.every(isUrl)) return servers
  throw invalidArgument(
    TypeError,
    'A server of the option "cluster" must be a URL like nats://host:4222 or tls://host:4222\nTo fix: pass such a URL, or several',
  )
}

/** Which of two would count is nothing to guess about. */
function assertOneIdentity(
  [first]: readonly string[],
  { credentials, nkey }: Pick<ClusterOptions, 'credentials' | 'nkey'>,
): void {
  const given = [
    ...(new URL(first!).username === '' ? [] : ['a user or token in the URL']),
    ...(credentials === undefined ? [] : ['"credentials"']),
    ...(nkey === undefined ? [] : ['"nkey"']),
  ]
  if (given.length < 2) return
  throw invalidArgument(
    TypeError,
    `The option "cluster" says in several ways who this program is: by ${given.join(' and by ')}\nTo fix: leave all but one out`,
  )
}

function checkFile(option: string, path: unknown): void {
  if (path === undefined) return
  if (typeof path !== 'string' || path === '') {
    throw invalidArgument(
      TypeError,
      `The option "cluster.${option}" must be the path of a file, but it is ${show(path)}\nTo fix: write it to a file, and pass its path`,
    )
  }
  try {
    accessSync(path, constants.R_OK)
  } catch (cause) {
    throw new ProcessError(
      'ERR_NOT_FOUND',
      `Cannot read ${path}, the option "cluster.${option}" (${(cause as Error).message})\nTo fix: pass the path of a file that this user may read`,
      { cause },
    )
  }
}

function checkInboxPrefix(prefix: unknown): string {
  if (prefix === undefined) return '_INBOX'
  if (typeof prefix === 'string' && inboxPrefixes.test(prefix)) return prefix
  throw invalidArgument(
    TypeError,
    `The option "cluster.inboxPrefix" must be letters, digits, "_" or "-", with dots between its parts, but it is ${show(prefix)}\nTo fix: pass the subject that the user may subscribe to, without ".>", such as '_INBOX_agent'`,
  )
}

/** @throws TypeError without a key: work is code, so it is never taken from just anybody. */
export function clusterKey(given: AuthKey | undefined): Buffer {
  const key = authKeyBytes(given) ?? keyOfEnvironment()
  if (key === undefined) {
    throw invalidArgument(
      TypeError,
      'A pool on a cluster needs a key, because agents run the code that they are sent\nTo fix: make one (openssl rand -hex 32) and give it to programs and agents as MULTIPROC_AUTH_KEY, in a file named by MULTIPROC_AUTH_KEY_FILE, or as "authKey"',
    )
  }
  if (key.length < keyBytesMin) {
    throw invalidArgument(
      RangeError,
      `The key of a cluster must have ${keyBytesMin} bytes or more, but it has ${key.length}\nTo fix: make one with "openssl rand -hex 32"`,
    )
  }
  return key
}

function keyOfEnvironment(): Buffer | undefined {
  const text = process.env['MULTIPROC_AUTH_KEY']
  if (text !== undefined && text !== '') return Buffer.from(text, 'utf8')
  const file = process.env['MULTIPROC_AUTH_KEY_FILE']
  if (file === undefined || file === '') return undefined
  try {
    return Buffer.from(readFileSync(file, 'utf8').trim(), 'utf8')
  } catch (cause) {
    throw new ProcessError(
      'ERR_NOT_FOUND',
      `Cannot read the key of the cluster from ${file}\nTo fix: see that MULTIPROC_AUTH_KEY_FILE names a file that this user may read`,
      { cause },
    )
  }
}
