/**
 * The NATS client: its packages, which are loaded when a cluster is used and not before, and a connection that suits
 * pools. Invariant: whatever keeps a connection from being made is a `ClusterError` that says what to do.
 */
import { randomBytes } from 'node:crypto'
import type { ConnectionOptions, NatsConnection } from '@nats-io/transport-node'
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream'
import { ClusterError } from '../errors.ts'
import type { ClusterSettings } from '../pool/cluster-option.ts'
import { StreamWriter } from './stream-writer.ts'
import { connectFailure, isNotLetIn } from './connect-failure.ts'
import { loginOptions } from './nats-login.ts'
import { type Greeting, firstGreeting } from './server-greeting.ts'
import { reconnectDelay } from './reconnect-delay.ts'
import { type Waiting, untilAnswered } from './until-answered.ts'

/** One connection to the servers, and what speaks over it. */
export interface Nats {
  readonly connection: NatsConnection
  readonly publisher: JetStreamClient
  readonly manager: JetStreamManager
  readonly writer: StreamWriter
  /** The longest message that is sent; what is longer is stored in pieces. */
  readonly inlineBytesMax: number
  /** The longest message that the server takes. The connection does not know it while it is away. */
  readonly payloadBytesMax: number
  /** Why the server does not let this user in any more, while that is so. */
  refusal(): Error | undefined
}

/** Older ones ignore limits of age in silence, or lose queued work after some has been called off. */
const serverVersionMin = [2, 11] as const
/**
 * Larger messages are stored in pieces: every server on the way keeps a message in memory, and cuts off who has more than
 * 64 MB to read.
 */
const inlineBytesMax = 4 << 20
/** For the subject and the headers, which count as well. */
const headBytesMax = 4096
const attemptMs = 3000
const betweenAttemptsMs = 250
const closeMsMax = 1000
const howToStart =
  'start nats-server 2.11 or newer with JetStream ("jetstream {}" in its configuration, or the flag -js), and give the user the rights that docs/guide/cluster.md lists'
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
 * Connects, and tries for as long as the settings say for the first connection, or until it `isCancelled`. `isBackground`: whoever waits for it
 * keeps the program alive, and nobody else.
 *
 * @throws ClusterError
 */
export async function connectNats(
  settings: ClusterSettings,
  { name, ...waiting }: { name: string } & Waiting,
): Promise<Nats> {
  const { transport, jetStream } = await loadPackages()
  const options = { ...connectionOptions(settings, name), ...loginOptions(settings, transport) }
  const connect = async (first: string): Promise<NatsConnection> => {
    const servers = [first, ...settings.servers.filter(server => server !== first)]
    return await transport.connect({ ...options, servers: servers.map(server => new URL(server).host) })
  }
  const connection = await untilConnected(connect, { settings, ...waiting })
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
      refusal: followRefusals(connection),
      manager,
      publisher: jetStream.jetstream(connection, { timeout: writeMsMax }),
      writer: new StreamWriter(connection, {
        newHeaders: transport.headers,
        inbox: newInbox(settings),
        answerMsMax: writeMsMax,
      }),
      inlineBytesMax: Math.min(inlineBytesMax, payloadBytesMax - headBytesMax),
      payloadBytesMax,
    }
  } catch (cause) {
    await connection.close()
    if (cause instanceof ClusterError) throw cause
    throw serverError(`JetStream of the server ${addressesOf(settings)} does not answer`, cause)
  }
}

/** A subject of this program alone, under which it hears answers. */
export function newInbox({ inboxPrefix }: Pick<ClusterSettings, 'inboxPrefix'>): string {
  return `${inboxPrefix}.${randomBytes(12).toString('hex')}`
}

/** Closes a connection when what was sent has left, or the server does not take it. */
export async function closeNats({ connection }: Pick<Nats, 'connection'>): Promise<void> {
  // Without a server nothing would end the flush.
  const timer = setTimeout(() => void connection.close().catch(() => {}), closeMsMax).unref()
  await connection.flush().catch(() => {})
  clearTimeout(timer)
  await connection.close().catch(() => {})
}

/** Ends with the connection. */
function followRefusals(connection: NatsConnection): Nats['refusal'] {
  let refusal: Error | undefined
  const follow = async (): Promise<void> => {
    for await (const event of connection.status()) {
      if (event.type === 'reconnect') refusal = undefined
      else if (event.type === 'error' && isNotLetIn(event.error)) refusal = event.error
    }
  }
  void follow()
  return () => refusal
}

/** What a server refuses, or does not have. */
export function serverError(what: string, cause?: unknown, toFix = howToStart): ClusterError {
  const reason = cause instanceof Error && !what.includes(cause.message) ? ` (${cause.message})` : ''
  return new ClusterError(
    'ERR_CLUSTER_SERVER',
    `Cannot use the cluster: ${what}${reason}\nTo fix: ${toFix}`,
    {
      cause,
    },
  )
}

function connectionOptions({ poolName, inboxPrefix }: ClusterSettings, name: string): ConnectionOptions {
  return {
    name: `multiproc ${name} ${poolName}`,
    inboxPrefix,
    // The first is the one that has answered.
    noRandomize: true,
    // Work waits while there is no server; how long is decided above.
    maxReconnectAttempts: -1,
    reconnectDelayHandler: reconnectDelay(betweenAttemptsMs),
    timeout: attemptMs,
    pingInterval: 5000,
    // A user whose password or credentials are just being replaced comes in again when they are; until the same time is over.
    ignoreAuthErrorAbort: true,
  }
}

async function untilConnected(
  connect: (first: string) => Promise<NatsConnection>,
  { settings, isCancelled = () => false, isBackground = false }: { settings: ClusterSettings } & Waiting,
): Promise<NatsConnection> {
  const beganMs = performance.now()
  for (;;) {
    let greeting: Greeting | undefined
    try {
      greeting = await firstGreeting(settings.servers, { msMax: attemptMs })
      if (greeting.isCertificateWanted && settings.tls?.cert === undefined) throw new Error('no certificate')
      return await connect(greeting.server)
    } catch (cause) {
      const failure = connectFailure(settings, cause, greeting)
      if (failure.isFinal) throw serverError(failure.what, cause, failure.toFix)
      const msMax = settings.firstConnectionMsMax
      if (isCancelled() || performance.now() - beganMs > msMax) {
        throw connectionError(settings, `${failure.what}; tried for ${msMax} ms`, cause)
      }
      await new Promise(resolve => {
        const timer = setTimeout(resolve, betweenAttemptsMs)
        if (isBackground) timer.unref()
      })
    }
  }
}

/** For servers that cannot be reached. */
export function connectionError(settings: ClusterSettings, what: string, cause?: unknown): ClusterError {
  const reason = cause instanceof Error && !what.includes(cause.message) ? ` (${cause.message})` : ''
  return new ClusterError(
    'ERR_CLUSTER_CONNECTION',
    `The NATS server ${addressesOf(settings)} cannot be reached: ${what}${reason}\nTo fix: see that it runs${isNotLetIn(cause) ? ', that it still knows this user' : ''} and that the network lets this machine through, or allow more time with "connectionTimeout"`,
    { cause },
  )
}

/** Without users and passwords. */
function addressesOf({ servers }: ClusterSettings): string {
  return servers.map(server => `${new URL(server).protocol}//${new URL(server).host}`).join(', ')
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
