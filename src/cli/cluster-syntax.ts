/** What `multiproc cluster` takes: one word that says what to do, and where the cluster is. */
import { CLUSTER_OPTIONS } from './cluster-options.ts'
import { HELP_OPTION, type CommandSyntax } from './command-syntax.ts'

export const CLUSTER_ACTIONS = ['status', 'top', 'jobs', 'cancel', 'dead', 'create', 'dev'] as const

export const CLUSTER_SYNTAX = {
  name: 'cluster',
  summary: 'see and stop what a cluster does, or start a small one here',
  usage: '<status|top|jobs|cancel|dead|create|dev> [id] [options]',
  about: [
    'Shows the pools of a cluster, or does something about their work. "dev" starts a NATS server and two agents on this machine, to try things out, until it is stopped.',
  ],
  operands: [
    ['status', 'for each pool how much work waits and runs, and its agents'],
    ['top', 'the same, again every second'],
    [
      'jobs',
      'the programs that have work in the queue, with their ids, and the calls that can be attached to',
    ],
    [
      'cancel <id>',
      'take the work of such a program out of the queue, stop what runs of it, and fail its calls; a call that can be attached to is deleted',
    ],
    ['dead', 'work that was given up, because agents ended again and again, or because it was not signed'],
    [
      'create',
      'make what the server keeps for a pool (--pool) or for shared state (--state), for users who may not',
    ],
    ['dev', 'a cluster on this machine'],
  ],
  completesOperands: CLUSTER_ACTIONS,
  options: {
    ...CLUSTER_OPTIONS,
    pool: { value: 'name', help: 'only this pool; several with commas. Default: all; for dev: "dev"' },
    clear: { help: 'for dead: delete them' },
    replicas: {
      value: 'n',
      help: 'for create: on how many servers of a NATS cluster it is kept. Default: 1',
    },
    lease: { value: 'time', help: 'for create: as the option of multiproc worker' },
    'max-deliveries': { value: 'n', help: 'for create: as the option of multiproc worker' },
    state: { value: 'name', help: 'for create: shared state of this name' },
    queue: {
      value: 'name',
      help: 'for create: a queue of that state, name or name=size; several with commas. Default size: a million',
    },
    agents: { value: 'n', help: 'for dev: how many agents. Default: 2' },
    processes: { short: 'p', value: 'n', help: 'for dev: how many processes each of them has. Default: 1' },
    folder: {
      value: 'path',
      completes: 'folder',
      help: 'for dev: where the server keeps its data. Default: a new folder, which is deleted at the end',
    },
    json: { help: 'for status, jobs, dead and create: the same as one JSON value' },
    help: HELP_OPTION,
  },
  exitCodes: '0, 1 the cluster cannot be used, or there is no such id, 2 wrong usage',
  examples: [
    'multiproc cluster dev',
    'multiproc cluster status --cluster nats://queue:4222 --key-file /etc/multiproc/key',
    'multiproc cluster create --pool render --replicas 3',
    'multiproc cluster cancel 3b1f0c9a55d2e4f10a7b6c21 --pool render',
  ],
} as const satisfies CommandSyntax
