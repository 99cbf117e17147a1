// Puts a nats-server that is new enough for the tests of src/cluster/ into build/nats/, which git ignores, without touching
// the system: `node scripts/get-nats-server.mjs`. It is looked for, in this order, where MULTIPROC_NATS_SERVER says, on
// the PATH, in build/nats/, and else downloaded from the mirror of Debian that this machine's apt uses (apt-get checks
// the signature of the list and the hash of the package). Needs Debian or a system made of it; elsewhere it says how to get
// one. The last line that it prints is the path of the server.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What the library asks for. */
const VERSION_MIN = [2, 11]
/** The stable suite has an older one. */
const SUITE = 'sid'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = join(root, 'build', 'nats')
const target = join(folder, 'nats-server')

function versionOf(path) {
  try {
    const text = execFileSync(path, ['--version'], { encoding: 'utf8' })
    return /v(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number)
  } catch {
    return undefined
  }
}

function isNewEnough(path) {
  const [major, minor] = versionOf(path) ?? [0, 0]
  return major > VERSION_MIN[0] || (major === VERSION_MIN[0] && minor >= VERSION_MIN[1])
}

function find() {
  const places = [
    process.env['MULTIPROC_NATS_SERVER'],
    ...(process.env['PATH'] ?? '').split(delimiter).map(path => join(path, 'nats-server')),
    target,
  ]
  return places.find(path => path && existsSync(path) && isNewEnough(path))
}

/** The address of the mirror that apt uses. */
function mirror() {
  const texts = []
  const lists = '/etc/apt/sources.list.d'
  for (const name of existsSync(lists) ? readdirSync(lists) : [])
    texts.push(readFileSync(join(lists, name), 'utf8'))
  if (existsSync('/etc/apt/sources.list')) texts.push(readFileSync('/etc/apt/sources.list', 'utf8'))
  return /\bhttps?:\/\/\S*\/debian(?=\/?\s)/.exec(`${texts.join('\n')}\n`)?.[0]
}

function download() {
  const uri = mirror()
  if (uri === undefined) {
    throw new Error(
      'There is no nats-server here, and no mirror of Debian to get one from\nTo fix: install nats-server 2.11 or newer (https://docs.nats.io), and set MULTIPROC_NATS_SERVER to its path',
    )
  }
  const apt = join(folder, 'apt')
  rmSync(apt, { recursive: true, force: true })
  for (const part of ['lists/partial', 'cache/archives/partial'])
    mkdirSync(join(apt, part), { recursive: true })
  const sources = join(apt, 'sources.list')
  writeFileSync(
    sources,
    `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${uri} ${SUITE} main\n`,
  )
  // apt keeps everything in a folder of ours, and touches nothing of the system.
  const options = [
    `Dir::Etc::sourcelist=${sources}`,
    'Dir::Etc::sourceparts=/dev/null',
    `Dir::State::lists=${join(apt, 'lists')}`,
    `Dir::Cache=${join(apt, 'cache')}`,
    'APT::Sandbox::User=root',
  ].flatMap(option => ['-o', option])
  const run = (command, args) =>
    execFileSync(command, args, { cwd: apt, stdio: ['ignore', 'ignore', 'inherit'] })
  run('apt-get', [...options, '-qq', 'update'])
  run('apt-get', [...options, '-qq', 'download', 'nats-server'])
  const archive = readdirSync(apt).find(name => name.endsWith('.deb'))
  run('dpkg-deb', ['-x', archive, 'content'])
  copyFileSync(join(apt, 'content', 'usr', 'sbin', 'nats-server'), target)
  chmodSync(target, 0o755)
  rmSync(apt, { recursive: true, force: true })
  if (!isNewEnough(target)) throw new Error(`${target} is older than ${VERSION_MIN.join('.')}`)
  return target
}

mkdirSync(folder, { recursive: true })
console.log(find() ?? download())
