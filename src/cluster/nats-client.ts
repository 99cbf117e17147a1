/**
 * The NATS client: its packages, which are loaded when a cluster is used and not before, and a connection that suits
 * pools. Invariant: whatever keeps a connection from being made is a `ClusterError` that says what to do.
 */
import { readFileSync } from 'node:fs'
import type { ConnectionOptions, NatsConnection } from '@nats-io/transport-node'
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream'
import { ClusterError } from '../errors.ts'
import type { ClusterSettings } from '../pool/cluster-option.ts'
import { reconnectDelay } from './reconnect-delay.ts'
import { type Waiting, untilAnswered } from './until-answered.ts'

/** One connection to the servers, and what speaks over it. */
export interface Nats {
  readonly connection: NatsConnection
  readonly publisher: JetStreamClient
  readonly manager: JetStreamManager
  /** The longest message that is sent; what is longer is stored in pieces. */
  readonly inlineBytesMax: number
}

/** Older ones ignore limits of age in silence, or lose queued work after some has been called off. */
const serverVersionMin = [2, 11] as const
/** Larger messages are stored in pieces: every server on the way keeps a message in memory. */
const inlineBytesMax = 512 * 1024
const attemptMs = 3000
const betweenAttemptsMs = 250
const closeMsMax = 1000
/** Who asks a server that is killed meanwhile gets no answer: it is asked again after this time. */
const writeMsMax = 2000
/** As long for what is asked seldom, and can take a server some time. */
const requestMsMax = 10_000

async function loadPackages(): Promise<{
  transport: typeof import('@nats-io/transport-node')
  jetStream: typeof import('@nats-io/jetstream')
}> {
  try {
    const [transport, jetStream] = await Promise.all([
      import('@nats-io/transport-node'),
      import('@nats-io/jetstream'),
    ])
    return { transport, jetStream }
  } catch (cause) {
    throw new ClusterError(
      'ERR_NOT_SUPPORTED',
      'Cannot use a cluster: the client of NATS is not installed\nTo fix: npm install @nats-io/transport-node@3.3.1 @nats-io/jetstream@3.3.1',
      { cause },
    )
  }
}

/**
 * Connects, and tries for as long as the settings say, or until it `isCancelled`. `isBackground`: whoever waits for it
 * keeps the program alive, and nobody else.
 *
 * @throws ClusterError
 */
export async function connectNats(
  settings: ClusterSettings,
  { name, ...waiting }: { name: string } & Waiting,
): Promise<Nats> {
  const { transport, jetStream } = await loadPackages()
  const options = connectionOptions(settings, name, transport.credsAuthenticator)
  const connection = await untilConnected(() => transport.connect(options), { settings, ...waiting })
  try {
    assertServer(connection)
    // Servers that have just started, or lost one of them, may have no leader yet.
    await untilAnswered(
      settings,
      () => jetStream.jetstreamManager(connection, { timeout: attemptMs }),
      waiting,
    )
    const manager = await jetStream.jetstreamManager(connection, { timeout: requestMsMax, checkAPI: false })
    const { max_payload: payloadBytesMax } = connection.info!
    return {
      connection,
      manager,
      publisher: jetStream.jetstream(connection, { timeout: writeMsMax }),
      inlineBytesMax: Math.min(inlineBytesMax, payloadBytesMax >> 1),
    }
  } catch (cause) {
    await connection.close()
    if (cause instanceof ClusterError) throw cause
    throw serverError(`JetStream of the server ${settings.servers.join(', ')} does not answer`, cause)
  }
}

/** Closes a connection when what was sent has left, or the server does not take it. */
export async function closeNats({ connection }: Pick<Nats, 'connection'>): Promise<void> {
  // Without a server nothing would end the flush.
  const timer = setTimeout(() => void connection.close().catch(() => {}), closeMsMax).unref()
  await connection.flush().catch(() => {})
  clearTimeout(timer)
  await connection.close().catch(() => {})
}

/** What a server refuses, or does not have. */
export function serverError(what: string, cause?: unknown): ClusterError {
  return new ClusterError(
    'ERR_CLUSTER_SERVER',
    `Cannot use the cluster: ${what}${cause instanceof Error ? ` (${cause.message})` : ''}\nTo fix: start nats-server 2.11 or newer with JetStream ("jetstream {}" in its configuration, or the flag -js), and give the user the rights that docs/guide/cluster.md lists`,
    { cause },
  )
}

function connectionOptions(
  { servers, credentials, tls, poolName }: ClusterSettings,
  name: string,
  credsAuthenticator: (content: Uint8Array) => NonNullable<ConnectionOptions['authenticator']>,
): ConnectionOptions {
  // All servers of one cluster have the same users.
  const { username, password } = new URL(servers[0]!)
  const isTls = tls !== undefined || servers.some(server => server.startsWith('tls:'))
  return {
    servers: servers.map(server => new URL(server).host),
    name: `multiproc ${name} ${poolName}`,
    // Work waits while there is no server; how long is decided above.
    maxReconnectAttempts: -1,
    reconnectDelayHandler: reconnectDelay(betweenAttemptsMs),
    timeout: attemptMs,
    pingInterval: 5000,
    ...(credentials === undefined ? {} : { authenticator: credsAuthenticator(readFileSync(credentials)) }),
    ...(username !== '' && password !== ''
      ? { user: decodeURIComponent(username), pass: decodeURIComponent(password) }
      : username === ''
        ? {}
        : { token: decodeURIComponent(username) }),
    ...(isTls ? { tls: tlsFiles(tls) } : {}),
  }
}

function tlsFiles(tls: ClusterSettings['tls']): NonNullable<ConnectionOptions['tls']> {
  const { ca, cert, key } = tls ?? {}
  return {
    ...(ca === undefined ? {} : { caFile: ca }),
    ...(cert === undefined ? {} : { certFile: cert }),
    ...(key === undefined ? {} : { keyFile: key }),
  }
}

async function untilConnected(
  connect: () => Promise<NatsConnection>,
  { settings, isCancelled = () => false, isBackground = false }: { settings: ClusterSettings } & Waiting,
): Promise<NatsConnection> {
  const beganMs = performance.now()
  for (;;) {
    try {
      return await connect()
    } catch (cause) {
      const isRefused = cause instanceof Error && /Authorization|Authentication/.test(cause.name)
      if (isRefused) throw serverError('it refuses this user', cause)
      if (isCancelled() || performance.now() - beganMs > settings.connectionMsMax) {
        throw connectionError(settings, `Cannot connect to it for ${settings.connectionMsMax} ms`, cause)
      }
      await new Promise(resolve => {
        const timer = setTimeout(resolve, betweenAttemptsMs)
        if (isBackground) timer.unref()
      })
    }
  }
}

/** For servers that cannot be reached. */
export function connectionError({ servers }: ClusterSettings, what: string, cause?: unknown): ClusterError {
  const where = servers.map(server => new URL(server).host).join(', ')
  return new ClusterError(
    'ERR_CLUSTER_CONNECTION',
    `The NATS server ${where} cannot be reached: ${what}${cause instanceof Error ? ` (${cause.message})` : ''}\nTo fix: see that it runs and that the network lets this machine through, or allow more time with "connectionTimeout"`,
    { cause },
  )
}

function assertServer({ info }: NatsConnection): void {
  const { version = '0', jetstream: hasJetStream } = info ?? {}
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major < serverVersionMin[0] || (major === serverVersionMin[0] && minor < serverVersionMin[1])) {
    throw serverError(`its version is ${version}, and older ones than 2.11 can lose queued work`)
  }
  if (hasJetStream !== true) throw serverError('it runs without JetStream')
}

/**
 * Lets the program end while the connection is open. The client has no such way, so its socket and the timer of its
 * pings are looked for; where they are not found, an open pool keeps its program alive until it is closed.
 */
export function letProgramEnd(connection: NatsConnection): void {
  const { protocol } = connection as unknown as {
    protocol?: { transport?: { socket?: { unref?: () => void } }; heartbeats?: { timer?: NodeJS.Timeout } }
  }
  protocol?.transport?.socket?.unref?.()
  protocol?.heartbeats?.timer?.unref?.()
}
