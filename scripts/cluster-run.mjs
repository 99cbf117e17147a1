// Does what README.md says under "More than one machine", word for word, with many real files, kills one of the two agents
// in the middle with SIGKILL, and compares the output with that of sha256sum: each file once, in order, with its sum.
//
//   npm run build && node scripts/get-nats-server.mjs && node scripts/cluster-run.mjs [--files 100000] [--under /usr]...
//
// It needs Linux or another system with find, bash and sha256sum. Exits with 1 when anything is not as it must be.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const LOOK_EVERY_MS = 50
/** When so much of the output is there, an agent is killed. */
const KILL_AT = 0.4
const RUN_MS_MAX = 1800_000

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values } = parseArgs({
  options: { files: { type: 'string', default: '100000' }, under: { type: 'string', multiple: true } },
})
const count = Number(values.files)
const folders = (values.under ?? ['/usr', join(root, 'node_modules')]).map(path => resolve(path))

/** The three commands, and the module, of README.md. */
function readme() {
  const text = readFileSync(join(root, 'README.md'), 'utf8')
  const section = text.slice(text.indexOf('### More than one machine'), text.indexOf('### From a shell'))
  const module = /```js\n\/\/ sums\.mjs\n([\s\S]*?)```/.exec(section)?.[1]
  const commands = /```sh\n([\s\S]*?)```/.exec(section)?.[1]?.trim().split('\n') ?? []
  if (module === undefined || commands.length !== 3) throw new Error('README.md has not what this runs')
  return { module, commands: commands.map(line => line.replace(/\s+#.*$/, '')) }
}

function listFiles(path) {
  const output = execFileSync('find', [...folders, '-xdev', '-type', 'f', '-readable', '-print0'], {
    maxBuffer: 1 << 30,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const names = output
    .toString()
    .split('\0')
    .filter(name => name !== '' && !/[\n\\]/.test(name))
  const chosen = names.slice(0, count)
  if (chosen.length < count) {
    throw new Error(
      `There are only ${chosen.length} files\nTo fix: --files ${chosen.length}, or --under more`,
    )
  }
  writeFileSync(path, chosen.map(name => `${name}\n`).join(''))
}

function linesIn(file, known) {
  const size = existsSync(file) ? statSync(file).size : 0
  const bytes = Buffer.alloc(Math.max(0, size - known.size))
  if (bytes.length === 0) return known
  const descriptor = openSync(file, 'r')
  const read = readSync(descriptor, bytes, 0, bytes.length, known.size)
  closeSync(descriptor)
  let lines = known.lines
  for (const byte of bytes.subarray(0, read)) if (byte === 10) lines++
  return { size: known.size + read, lines }
}

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

const folder = mkdtempSync(join(tmpdir(), 'multiproc-run-'))
const children = []
let isRight = false

const multiproc = [process.execPath, join(root, 'dist', 'cli', 'cli-main.js')]

/** `npx multiproc` is the command of this build. */
function start(command, env = {}) {
  const own = command.replaceAll('npx multiproc', multiproc.join(' '))
  // So that a command that is no pipeline takes the place of its shell.
  const child = spawn('bash', ['-c', own.includes('|') ? own : `exec ${own}`], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PATH: `${join(root, 'build', 'nats')}${delimiter}${process.env['PATH']}`,
      ...env,
    },
  })
  child.exited = once(child, 'exit')
  children.push(child)
  return child
}

/** Waits until that agent says that it has chunks, and gives their number. */
async function chunksOf(agent, env, isOver) {
  const { ClusterAdmin } = await import('../dist/cluster/cluster-admin.js')
  const options = { servers: env['MULTIPROC_CLUSTER'], authKey: env['MULTIPROC_AUTH_KEY'] }
  const admin = await ClusterAdmin.connect(options, { pools: ['dev'] })
  try {
    while (!isOver()) {
      const [pool] = await admin.status()
      const chunks = pool.agents.find(each => each.agent === agent)?.chunks ?? 0
      if (chunks > 0) return chunks
    }
    throw new Error('The agent had nothing to do before the run was over\nTo fix: --files with more of them')
  } finally {
    await admin.close()
  }
}

try {
  const { module, commands } = readme()
  const [devCommand, workerCommand, mapCommand] = commands
  writeFileSync(join(folder, 'sums.mjs'), module)
  const list = join(folder, 'list')
  listFiles(list)
  console.log(`${count} files below ${folders.join(' and ')}`)

  const beganTruthMs = performance.now()
  const truth = execFileSync(
    'bash',
    ['-c', `tr '\\n' '\\0' < ${JSON.stringify(list)} | xargs -0 sha256sum --`],
    {
      encoding: 'utf8',
      maxBuffer: 1 << 30,
    },
  )
  console.log(`sha256sum: ${Math.round((performance.now() - beganTruthMs) / 1000)} s`)

  const dev = start(devCommand)
  dev.stderr.pipe(process.stderr)
  const env = {}
  for await (const line of createInterface(dev.stdout)) {
    const [, name, value] = /^export (\w+)=(.*)$/.exec(line) ?? []
    if (name !== undefined) env[name] = value
    if (line.startsWith('Ctrl-C')) break
  }
  const worker = start(workerCommand, env)
  const [said] = await once(createInterface(worker.stderr), 'line')
  console.log(said)

  const output = join(folder, 'sums.txt')
  const beganMs = performance.now()
  const map = start(mapCommand.replace('find /usr -type f', `cat ${JSON.stringify(list)}`), env)
  map.stderr.pipe(process.stderr)
  const isOver = () => map.exitCode !== null || map.signalCode !== null
  let known = { size: 0, lines: 0 }
  while (!isOver() && known.lines < count * KILL_AT) {
    await pause(LOOK_EVERY_MS)
    known = linesIn(output, known)
  }
  const chunks = await chunksOf(said.split(' ')[2], env, isOver)
  worker.kill('SIGKILL')
  const killedMs = performance.now()
  console.log(`kill -9 of one agent after ${linesIn(output, known).lines} lines, with chunks: ${chunks}`)
  const late = setTimeout(() => map.kill('SIGKILL'), RUN_MS_MAX)
  const [code] = await map.exited
  clearTimeout(late)
  const seconds = sinceMs => Math.round((performance.now() - sinceMs) / 1000)
  console.log(
    `multiproc map: exit code ${code}, ${seconds(beganMs)} s, ${seconds(killedMs)} of them after that`,
  )

  const got = readFileSync(output, 'utf8')
  const lines = got.split('\n').slice(0, -1)
  const wanted = truth.split('\n').slice(0, -1)
  const differing = lines.filter((line, index) => line !== wanted[index]).length
  console.log(
    `${lines.length} lines, ${new Set(lines).size} different ones, ${differing} not as sha256sum says in that place`,
  )
  isRight = code === 0 && got === truth && wanted.length === count
  console.log(isRight ? 'Each file once, in order, with its sum' : 'THAT IS WRONG')
} finally {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGTERM')
    await child.exited
  }
  rmSync(folder, { recursive: true, force: true })
}
process.exitCode = isRight ? 0 : 1
