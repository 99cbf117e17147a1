/** The server of deploy/nats/, as it is shipped but for its folders, its ports and who listens: with its users. */
import { cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type NatsConnection, connect } from '@nats-io/transport-node'
import type { ClusterOptions } from 'multiproc'
import { ConfiguredServer, certificates } from './configured-server.js'
import { KEY } from './started-server.js'

export const deployFolder = fileURLToPath(new URL('../../../deploy/', import.meta.url))

export const USERS = ['submitter', 'agent', 'state', 'admin'] as const
export type User = (typeof USERS)[number]

/** The variables that the shipped files name. */
export const deployEnvironment: NodeJS.ProcessEnv = {
  ...Object.fromEntries(USERS.map(user => [`MULTIPROC_${user.toUpperCase()}_PASSWORD`, passwordOf(user)])),
  NATS_NAME: 'queue-1',
  NATS_MONITOR: '127.0.0.1:18222',
  NATS_ROUTE_PASSWORD: 'pwroute',
  NATS_ROUTE_1: 'nats://route:pwroute@127.0.0.1:16222',
  NATS_ROUTE_2: 'nats://route:pwroute@127.0.0.1:16223',
  NATS_ROUTE_3: 'nats://route:pwroute@127.0.0.1:16224',
}

function passwordOf(user: User): string {
  return `pw${user}`
}

/** Copies deploy/nats/ to where a test may write, with addresses and folders of the test. */
export function copyConfigurations(
  folder: string,
  port = 4222,
  edit = (text: string): string => text,
): string {
  const copy = join(folder, 'nats')
  cpSync(join(deployFolder, 'nats'), copy, { recursive: true })
  for (const name of readdirSync(copy)) {
    const file = join(copy, name)
    writeFileSync(
      file,
      edit(readFileSync(file, 'utf8'))
        .replace('listen: 0.0.0.0:4222', `listen: "127.0.0.1:${port}"`)
        .replace(/^http: [\d.]+:\d+$/m, '')
        .replace('/var/lib/nats', join(folder, 'store'))
        .replaceAll('/etc/nats/tls/server.pem', certificates('server-cert'))
        .replaceAll('/etc/nats/tls/server-key.pem', certificates('server-key'))
        .replaceAll('/etc/nats/tls/ca.pem', certificates('client-cert')),
    )
  }
  return copy
}

/** `name`: the file of deploy/nats/. */
export async function startDeployServer(
  name: string,
  edit?: (text: string) => string,
): Promise<ConfiguredServer> {
  return await ConfiguredServer.start(
    ({ folder, port }) => {
      copyConfigurations(folder, port, edit)
      return `include "./nats/${name}"`
    },
    { isWhole: true, env: deployEnvironment },
  )
}

/** How that user uses the cluster. */
export function clusterAs(server: ConfiguredServer, user: User): ClusterOptions {
  return {
    servers: server.url(`${user}:${passwordOf(user)}@`),
    authKey: KEY,
    inboxPrefix: `_INBOX_${user}`,
  }
}

/** The same user, with a client that does what it likes. */
export async function rawAs(server: ConfiguredServer, user: User): Promise<NatsConnection> {
  const inboxPrefix = `_INBOX_${user}`
  return await connect({ servers: `127.0.0.1:${server.port}`, user, pass: passwordOf(user), inboxPrefix })
}
