/**
 * A NATS server on this machine, for trying a cluster out and for tests: found where people have one, and started
 * with a configuration that suits pools. Invariant: it listens on 127.0.0.1 alone, to those who have its token, and ends
 * with `stop()`, or with this program, however that ends.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { ProcessError } from '../errors.ts'
import { endWithProgram } from './end-with-program.ts'

export interface LocalServer {
  /** With the token. */
  readonly url: string
  readonly pid: number
  /** Ends it, and waits until it has ended. What it has stored stays. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

const variable = 'MULTIPROC_NATS_SERVER'
const startMsMax = 15_000
const lookEveryMs = 20
/** With the server's own default, 2 minutes, a loss of power costs what was written in that time. */
const syncInterval = '1s'

/** The path of a server's program, or `undefined` when there is none. */
export function findServer(): string | undefined {
  const given = process.env[variable]
  if (given !== undefined && given !== '') return given
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return folders
    .flatMap(folder => [join(folder, 'nats-server'), join(folder, 'nats-server.exe')])
    .find(path => existsSync(path))
}

/** What to do where there is none. */
export const HOW_TO_GET_A_SERVER = `download nats-server 2.11 or newer from https://github.com/nats-io/nats-server/releases (one file, no installation), or install it with "brew install nats-server" or "go install github.com/nats-io/nats-server/v2@latest", and put it on the PATH or its path into ${variable}`

/**
 * Starts a server that keeps what it stores in `folder`. One that is temporary is removed when this program is killed;
 * who ends otherwise removes it.
 *
 * @throws ProcessError `ERR_NOT_FOUND` without a program, `ERR_START_FAILED` when it does not answer.
 */
export async function startLocalServer({
  folder,
  isFolderTemporary = false,
  port,
  token = randomBytes(16).toString('hex'),
}: {
  folder: string
  isFolderTemporary?: boolean
  port?: number | undefined
  token?: string | undefined
}): Promise<LocalServer> {
  const program = findServer()
  if (program === undefined) {
    throw new ProcessError(
      'ERR_NOT_FOUND',
      `There is no NATS server on this machine\nTo fix: ${HOW_TO_GET_A_SERVER}`,
    )
  }
  mkdirSync(folder, { recursive: true })
  const ownPort = port ?? (await freePorts(1))[0]!
  const configuration = join(folder, 'server.conf')
  writeFileSync(
    configuration,
    [
      `listen: "127.0.0.1:${ownPort}"`,
      'max_payload: 8MB',
      `authorization { token: "${token}" }`,
      `jetstream { store_dir: ${JSON.stringify(join(folder, 'store'))}, sync_interval: "${syncInterval}" }`,
      '',
    ].join('\n'),
    { mode: 0o600 },
  )
  const log = join(folder, 'server.log')
  const output = openSync(log, 'w')
  const child = spawn(program, ['-c', configuration], { stdio: ['ignore', output, output] })
  closeSync(output)
  const exited = once(child, 'exit').catch(() => {})
  const ended = endWithProgram(child, { ended: exited, folder: isFolderTemporary ? folder : undefined })
  const killWithProgram = (): void => void child.kill('SIGKILL')
  process.once('exit', killWithProgram)
  void ended.then(() => process.removeListener('exit', killWithProgram))
  await untilListening(child, { port: ownPort, log })
  return {
    url: `nats://${token}@127.0.0.1:${ownPort}`,
    pid: child.pid!,
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal)
      await ended
    },
  }
}

/** The version of a server's program, for people. */
export async function serverVersion(program: string): Promise<string> {
  const { stdout } = await promisify(execFile)(program, ['--version'])
  return stdout.trim()
}

/** Ports that were free a moment ago, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const probes = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(probes.map(probe => once(probe, 'listening')))
  const ports = probes.map(probe => (probe.address() as AddressInfo).port)
  await Promise.all(probes.map(probe => once(probe.close(), 'close')))
  return ports
}

async function untilListening(
  child: ChildProcess,
  { port, log }: { port: number; log: string },
): Promise<void> {
  const beganMs = performance.now()
  while (performance.now() - beganMs < startMsMax) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) break
    if (await answers(port)) return
    await new Promise(resolve => {
      setTimeout(resolve, lookEveryMs)
    })
  }
  child.kill('SIGKILL')
  const text = existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(-5).join('\n') : ''
  throw new ProcessError(
    'ERR_START_FAILED',
    `The NATS server did not start on port ${port}\nTo fix: see what it said:\n${text}`,
  )
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    // A server says who it is before anything else.
    await once(socket, 'data')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
