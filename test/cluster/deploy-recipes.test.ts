/**
 * What deploy/ has besides configurations of the server: it is read as its readers read it, and what several files have to
 * agree on is compared, as far as neither systemd nor Kubernetes nor Docker is needed for that.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { parse as parseYaml, parseAllDocuments } from 'yaml'
import { CLUSTER_SYNTAX } from '#src/cli/cluster-syntax.js'
import { parseOptions, parseTimeMs } from '#src/cli/parse-options.js'
import { WORKER_SYNTAX } from '#src/cli/worker-syntax.js'
import { LEVELS, PoolNames } from '#src/cluster/names.js'
import { deployFolder } from './deploy-server.js'

const names = new PoolNames('render')

function textOf(path: string): string {
  return readFileSync(join(deployFolder, path), 'utf8')
}

/** Of `multiproc worker`, with what they must be for the users of users.conf. */
function checkWorker([command, ...args]: readonly string[]): {
  drainMs: number
  healthPort: string | undefined
} {
  assert.equal(command, 'worker')
  const { values, positionals } = parseOptions(WORKER_SYNTAX, args)
  assert.deepEqual(positionals, [])
  assert.equal(values.pool, 'render')
  assert.equal(values['inbox-prefix'], '_INBOX_agent')
  for (const secret of ['cluster', 'key-file'] as const)
    assert.equal(values[secret], undefined, `--${secret} can be seen by everybody`)
  return { drainMs: parseTimeMs('drain', values.drain, { msMin: 0 })!, healthPort: values['health-port'] }
}

interface Container {
  args: string[]
  env: { name: string; value?: string; valueFrom?: { secretKeyRef?: { name: string; key: string } } }[]
  ports: { name: string; containerPort: number }[]
  readinessProbe: { httpGet: { path: string; port: string } }
  livenessProbe: { tcpSocket: { port: string } }
  volumeMounts: { name: string; mountPath: string }[]
}

interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string }
  spec: Record<string, unknown> & {
    template: {
      spec: {
        terminationGracePeriodSeconds: number
        containers: Container[]
        volumes: { name: string }[]
      }
    }
  }
}

function manifests(path: string): Manifest[] {
  return parseAllDocuments(textOf(path)).map(document => {
    assert.deepEqual(document.errors, [])
    assert.deepEqual(document.warnings, [])
    return document.toJS() as Manifest
  })
}

/** Lines of a unit, with those that are said several times in their order. */
function settingsOf(unit: string): Map<string, string[]> {
  const settings = new Map<string, string[]>()
  for (const line of unit.split('\n')) {
    const [, name, value] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? []
    if (name !== undefined) settings.set(name, [...(settings.get(name) ?? []), value!])
  }
  return settings
}

describe('the unit of systemd', () => {
  const unit = textOf('systemd/multiproc-worker@.service')
  const settings = settingsOf(unit)
  const one = (name: string): string => {
    const values = settings.get(name) ?? []
    assert.equal(values.length, 1, name)
    return values[0]!
  }

  test('ends an agent later than it drains, and its processes after it', () => {
    const options = /^MULTIPROC_WORKER_OPTIONS=(.*)$/m.exec(textOf('systemd/worker.env.example'))![1]!
    const command = one('ExecStart').replaceAll('%i', 'render').replace('$MULTIPROC_WORKER_OPTIONS', options)
    const { drainMs } = checkWorker(command.split(' ').slice(1))
    assert.ok(Number(one('TimeoutStopSec')) * 1000 > drainMs)
    // SIGTERM to all would end the tasks, too.
    assert.equal(one('KillMode'), 'mixed')
    assert.equal(one('Restart'), 'always')
    // Without it the end of one process for memory ends all.
    assert.equal(one('OOMPolicy'), 'continue')
    assert.doesNotMatch(unit, /^MemoryDenyWriteExecute=/m)
  })

  const hasSystemd = (() => {
    try {
      execFileSync('systemd-analyze', ['--version'], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  })()

  test('is accepted by systemd-analyze', { skip: hasSystemd ? false : 'needs systemd-analyze' }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-unit-'))
    try {
      const file = join(folder, 'multiproc-worker@render.service')
      // The command has to be there, and multiproc is not installed where this runs.
      writeFileSync(file, unit.replace('/usr/bin/multiproc', process.execPath))
      execFileSync('systemd-analyze', ['verify', file], { stdio: ['ignore', 'pipe', 'pipe'] })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe('the batch file of Slurm', { skip: process.platform === 'win32' ? 'needs bash' : false }, () => {
  test('starts an agent in its place, which drains before the time limit', () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-slurm-'))
    try {
      const file = join(deployFolder, 'slurm/multiproc-worker.sbatch')
      const env = join(folder, 'worker.env')
      writeFileSync(env, 'MULTIPROC_CLUSTER=nats://agent:pw@queue:4222\nMULTIPROC_AUTH_KEY_FILE=/key\n')
      const command = join(folder, 'multiproc')
      const program =
        'console.log(JSON.stringify([process.ppid, process.argv.slice(2), process.env.MULTIPROC_CLUSTER]))'
      writeFileSync(join(folder, 'print.cjs'), program)
      writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" "${join(folder, 'print.cjs')}" "$@"\n`, {
        mode: 0o755,
      })
      const output = execFileSync('bash', [file, 'render', '--max-tasks', '9'], {
        encoding: 'utf8',
        env: { ...process.env, MULTIPROC_ENV: env, MULTIPROC_COMMAND: command },
      })
      const [parent, args, cluster] = JSON.parse(output) as [number, string[], string]
      assert.equal(parent, process.pid)
      assert.equal(cluster, 'nats://agent:pw@queue:4222')
      assert.deepEqual(args.slice(-2), ['--max-tasks', '9'])
      const { drainMs } = checkWorker(args)
      const [, seconds] = /^#SBATCH --signal=B:TERM@(\d+)$/m.exec(readFileSync(file, 'utf8'))!
      assert.ok(Number(seconds) * 1000 > drainMs)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe('the manifests of Kubernetes', () => {
  test('agents are ended later than they drain, and their health is where it is looked for', () => {
    const [deployment, ...others] = manifests('kubernetes/worker.yaml')
    assert.equal(others.length, 0)
    assert.equal(deployment!.kind, 'Deployment')
    const { terminationGracePeriodSeconds: grace, containers, volumes } = deployment!.spec.template.spec
    const [agent] = containers
    const { drainMs, healthPort } = checkWorker(agent!.args)
    assert.ok(grace * 1000 > drainMs)
    const [port] = agent!.ports
    assert.equal(String(port!.containerPort), healthPort)
    assert.deepEqual(agent!.readinessProbe.httpGet, { path: '/healthz', port: port!.name })
    // /healthz says 503 while an agent drains: who asked it would kill one that finishes its work.
    assert.equal(agent!.livenessProbe.tcpSocket.port, port!.name)
    const keyFile = agent!.env.find(({ name }) => name === 'MULTIPROC_AUTH_KEY_FILE')!.value!
    assert.ok(agent!.volumeMounts.some(({ mountPath }) => keyFile.startsWith(`${mountPath}/`)))
    assert.deepEqual(
      new Set(agent!.volumeMounts.map(({ name }) => name)),
      new Set(volumes.map(({ name }) => name)),
    )
    assert.ok(agent!.env.find(({ name }) => name === 'MULTIPROC_CLUSTER')!.valueFrom?.secretKeyRef)
  })

  test('KEDA looks at the consumers that there are, and scales the agents that there are', () => {
    const [scaled] = manifests('kubernetes/keda.yaml')
    const [deployment] = manifests('kubernetes/worker.yaml')
    const { scaleTargetRef, triggers } = scaled!.spec as unknown as {
      scaleTargetRef: { name: string }
      triggers: { type: string; metadata: Record<string, unknown> }[]
    }
    assert.equal(scaleTargetRef.name, deployment!.metadata.name)
    assert.deepEqual(
      new Set(
        triggers.map(({ metadata }) => `${String(metadata['stream'])} ${String(metadata['consumer'])}`),
      ),
      new Set(LEVELS.map(level => `${names.tasks} ${level}`)),
    )
    for (const { type, metadata } of triggers) {
      assert.equal(type, 'nats-jetstream')
      // What is no string is refused by Kubernetes.
      for (const value of Object.values(metadata)) assert.equal(typeof value, 'string')
    }
  })

  test('the servers have the variables and the files that their configuration names', () => {
    const all = manifests('kubernetes/nats.yaml')
    assert.deepEqual(
      all.map(({ kind }) => kind),
      ['Service', 'PodDisruptionBudget', 'StatefulSet'],
    )
    const { containers, terminationGracePeriodSeconds: grace } = all[2]!.spec.template.spec
    const [, lameDuckSeconds] = /lame_duck_duration: (\d+)s/.exec(textOf('nats/common.conf'))!
    assert.ok(grace > Number(lameDuckSeconds))
    const mounted = containers[0]!.args[1]!
    assert.equal(mounted, '/etc/nats/three.conf')
    const sources = JSON.stringify(all[2]!.spec)
    for (const [, file] of textOf('nats/three.conf').matchAll(/_file: \/etc\/nats\/(\S+)/g))
      assert.ok(sources.includes(`"path":"${file}"`), file)
  })
})

describe('the compose file', () => {
  interface Service {
    command: string[]
    environment: Record<string, string>
    stop_grace_period: string
    depends_on?: unknown
  }
  const { services } = parseYaml(textOf('compose/compose.yaml')) as { services: Record<string, Service> }

  test('has two agents that are ended later than they drain, and makes their pool first', () => {
    for (const name of ['agent-1', 'agent-2']) {
      const agent = services[name]!
      const { drainMs } = checkWorker(agent.command)
      assert.ok(parseTimeMs('grace', agent.stop_grace_period, { msMin: 0 })! > drainMs)
      assert.deepEqual(agent.depends_on, { create: { condition: 'service_completed_successfully' } })
    }
    const [command, action, ...options] = services['create']!.command
    assert.deepEqual([command, action], ['cluster', 'create'])
    const { values } = parseOptions(CLUSTER_SYNTAX, options)
    assert.deepEqual(
      [values.pool, values.state, values['inbox-prefix']],
      ['render', 'render', '_INBOX_admin'],
    )
  })

  test('gives the server the passwords that it asks for, and names them in env.example', () => {
    const wanted = new Set(
      Array.from(textOf('nats/users.conf').matchAll(/\$(MULTIPROC_\w+)/g), match => match[1]!),
    )
    assert.deepEqual(new Set(Object.keys(services['nats']!.environment)), wanted)
    const named = Array.from(textOf('compose/env.example').matchAll(/^(\w+)=/gm), match => match[1]!)
    assert.deepEqual(new Set(named), wanted)
  })

  test('builds what the package has as its command', () => {
    const { bin } = JSON.parse(readFileSync(join(deployFolder, '../package.json'), 'utf8')) as {
      bin: { multiproc: string }
    }
    const [, entry] = /^ENTRYPOINT (.*)$/m.exec(textOf('compose/Dockerfile'))!
    assert.deepEqual(JSON.parse(entry!), [
      'node',
      `node_modules/multiproc/${bin.multiproc.replace('./', '')}`,
    ])
  })
})
