// What a reader has to know to judge the figures: machine, systems, versions, commit.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os'
import { pythonVersion } from './libraries/python.mjs'

function git(...args) {
  const cwd = new URL('.', import.meta.url)
  return execFileSync('git', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
}

function commit() {
  try {
    const changed = git(
      'status',
      '--porcelain',
      '--untracked-files=no',
      '--',
      ':/',
      ':(exclude,top)benchmark',
    )
    return `${git('rev-parse', '--short=12', 'HEAD')}${changed === '' ? '' : ' with uncommitted changes'}`
  } catch {
    return 'unknown (no git repository)'
  }
}

function versionOf(name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), 'utf8'))
    .version
}

function systemName() {
  try {
    return /^PRETTY_NAME="?(.*?)"?$/m.exec(readFileSync('/etc/os-release', 'utf8'))[1]
  } catch {
    return platform()
  }
}

/** @param {object[]} libraries Those that were measured. */
export function readEnvironment(libraries) {
  const packages = [...new Set(libraries.flatMap(library => library.package ?? []))]
  const versions = Object.fromEntries(packages.map(name => [name, versionOf(name)]))
  if (libraries.some(({ role }) => role === 'python')) versions.Python = pythonVersion()
  for (const { server } of libraries) if (server) Object.assign(versions, Object.fromEntries([server()]))
  return {
    date: new Date().toISOString(),
    commit: commit(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    system: `${systemName()}, ${platform()} ${release()} ${arch()}`,
    node: process.version,
    versions,
  }
}
