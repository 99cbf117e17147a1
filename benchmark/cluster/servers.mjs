// The two servers of the cluster rows, each as its documentation wants it for work that must not get lost, and alike in
// what a loss of power costs: what was written in the last second. Each job starts its own, on a free port of 127.0.0.1,
// in a folder that is removed with the job.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const startMsMax = 15_000

/** What the job with this process id keeps on the disc. The runner removes it when the job could not. */
export const folderOf = pid => join(tmpdir(), `multiproc-benchmark-${pid}`)

function onPath(name) {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map(folder => join(folder, name))
    .find(path => existsSync(path))
}

/** @throws when it is nowhere, with what to do. */
function find(name, { variable, own, fix }) {
  const found = [process.env[variable], own && fileURLToPath(own), onPath(name)].find(
    path => path !== undefined && path !== '' && existsSync(path),
  )
  if (found === undefined) throw new Error(`There is no ${name}\nTo fix: ${fix}`)
  return found
}

export const findNats = () =>
  find('nats-server', {
    variable: 'MULTIPROC_NATS_SERVER',
    own: new URL('../../build/nats/nats-server', import.meta.url),
    fix: 'node scripts/get-nats-server.mjs',
  })

export const findRedis = () =>
  find('redis-server', { variable: 'REDIS_SERVER', fix: 'apt-get install redis-server' })

/** Of a program that says it when it is asked. */
export const versionOf = program =>
  /\d+(?:\.\d+)+/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))?.[0] ?? 'unknown'

/** A server that can be killed and started again with what it has on the disc. */
class Server {
  #command
  #child

  constructor(port, command) {
    this.port = port
    this.#command = command
  }

  async start() {
    const [program, ...args] = this.#command
    this.#child = spawn(program, args, { stdio: 'ignore' })
    const startedAtMs = performance.now()
    while (!(await isOpen(this.port))) {
      if (performance.now() - startedAtMs > startMsMax) throw new Error(`${program} does not start`)
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    return this
  }

  async kill() {
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}

export async function startNats() {
  const folder = newFolder()
  const port = await freePort()
  const configuration = join(folder, 'nats.conf')
  writeFileSync(
    configuration,
    `listen: "127.0.0.1:${port}"\nmax_payload: 8MB\njetstream { store_dir: ${JSON.stringify(join(folder, 'store'))}, sync_interval: "1s" }\n`,
  )
  return await new Server(port, [findNats(), '-c', configuration]).start()
}

export async function startRedis() {
  const folder = newFolder()
  const port = await freePort()
  const options = {
    port,
    bind: '127.0.0.1',
    dir: folder,
    appendonly: 'yes',
    appendfsync: 'everysec',
    save: '',
    'maxmemory-policy': 'noeviction',
  }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
  return await new Server(port, [findRedis(), ...args]).start()
}

function newFolder() {
  const folder = folderOf(process.pid)
  mkdirSync(folder, { recursive: true })
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  await once(probe, 'close')
  return port
}

async function isOpen(port) {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
