/** What `multiproc worker` takes: where the cluster is, which pools, and what its processes may use. */
import { CLUSTER_OPTIONS } from './cluster-options.ts'
import { HELP_OPTION, type CommandSyntax } from './command-syntax.ts'

export const WORKER_SYNTAX = {
  name: 'worker',
  summary: 'work for the pools of a cluster, with the processes of this machine',
  usage: '--cluster <url> --pool <name> [options]',
  about: [
    'Fetches the work of programs that use new Pool({ cluster, name }), runs it in processes of this machine, and sends the results back. It runs any code that is signed with the key of the pool: see docs/guide/cluster.md.',
    'SIGTERM or Ctrl-C: it takes no more work, finishes what runs, gives back what does not end in time, and ends. The second one ends it at once.',
  ],
  operands: [],
  completesOperands: 'none',
  options: {
    ...CLUSTER_OPTIONS,
    pool: { value: 'name', help: 'the pool to work for; several with commas' },
    processes: {
      short: 'p',
      value: 'n',
      help: 'how many processes. Default: as many as this machine, its container or its batch job may use CPUs',
    },
    label: {
      value: 'name=value',
      isRepeated: true,
      help: 'what this machine is, for tasks that choose by it; again for another one',
    },
    resource: {
      value: 'name=amount',
      isRepeated: true,
      help: 'what it has for tasks that need it, such as gpu=2 or memory=64G, each for one task at a time; again for another one',
    },
    preload: {
      value: 'module',
      completes: 'file',
      help: 'a module that each process loads before its first task',
    },
    'max-tasks': { value: 'n', help: 'replace a process after so many tasks' },
    'max-memory': { value: 'MiB', help: 'replace a process that has more memory than that after a task' },
    drain: { value: 'time', help: 'how long what runs may take to end at the end. Default: 30s' },
    lease: {
      value: 'time',
      help: 'after which silence the work of a machine is given to others. For the pool as a whole: set by who uses its name first. Default: 15s',
    },
    'max-deliveries': {
      value: 'n',
      help: 'how often a chunk is given to machines that then fall silent, before it fails; as --lease. Default: 5',
    },
    'health-port': { value: 'n', help: 'serve GET /healthz on this port: 200 while it works, else 503' },
    'health-host': { value: 'address', help: 'on which address that is. Default: 127.0.0.1' },
    help: HELP_OPTION,
  },
  exitCodes: '0 ended as asked, 1 the cluster or the processes cannot be used, 2 wrong usage',
  examples: [
    'MULTIPROC_AUTH_KEY_FILE=/etc/multiproc/key multiproc worker --cluster nats://queue:4222 --pool render',
    'multiproc worker --cluster nats://queue:4222 --pool train --label zone=eu --resource gpu=2 --resource memory=64G',
    'multiproc worker --cluster tls://a:4222,tls://b:4222 --creds worker.creds --pool render,thumbs -p 8',
  ],
} as const satisfies CommandSyntax
