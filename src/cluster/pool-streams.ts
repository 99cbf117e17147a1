/**
 * The streams of a pool on the server: made by whoever comes first, program or agent, and found by all others.
 * Invariant: each has a bound, so that who sends waits when nobody takes; see "Streams" in README.md.
 */
import type { StoredMsg } from '@nats-io/jetstream'
import type { Nats } from './nats-client.ts'
import { serverError } from './nats-client.ts'
import { LEVELS, type Level, type PoolNames } from './names.ts'
import type { ClusterSettings } from '../pool/cluster-option.ts'
import { isForbidden, type Waiting, untilAnswered } from './until-answered.ts'

/** What was agreed on by whoever made the streams. */
export interface PoolRules {
  leaseMs: number
  deliveriesMax: number
  replicas: number
}

const nanosPerMs = 1e6
const hourMs = 3600_000
const chunksMax = 100_000
const resultsMax = 1_000_000
const deadMax = 10_000
const leaseMsDefault = 15_000
const deliveriesMaxDefault = 5
const duplicateWindowMs = 120_000

/** @throws ClusterError when the server refuses. */
export async function openStreams(
  { manager }: Pick<Nats, 'manager'>,
  names: PoolNames,
  settings: ClusterSettings,
  waiting: Waiting = {},
): Promise<PoolRules> {
  const { leaseMs = leaseMsDefault, deliveriesMax = deliveriesMaxDefault, replicas = 1 } = settings
  const common = {
    num_replicas: replicas,
    storage: 'file',
    duplicate_window: duplicateWindowMs * nanosPerMs,
  } as const
  const add = (config: { name: string } & Record<string, unknown>): Promise<unknown> =>
    ensure(
      () => manager.streams.info(config.name),
      () => manager.streams.add({ ...common, ...config }),
    )
  const streams: { name: string; subjects: string[]; [option: string]: unknown }[] = [
    {
      name: names.tasks,
      subjects: [`mp.t.${names.pool}.>`],
      retention: 'workqueue',
      discard: 'new',
      max_msgs: chunksMax,
      metadata: { deliveriesMax: String(deliveriesMax) },
    },
    {
      name: names.results,
      subjects: [`mp.r.${names.pool}.>`],
      discard: 'new',
      max_msgs: resultsMax,
      max_age: 24 * hourMs * nanosPerMs,
    },
    {
      name: names.dead,
      subjects: [`mp.d.${names.pool}.>`],
      discard: 'old',
      max_msgs: deadMax,
      max_age: 7 * 24 * hourMs * nanosPerMs,
    },
    {
      name: names.payloads,
      subjects: [`mp.p.${names.pool}.>`],
      discard: 'new',
      allow_direct: true,
      max_age: 24 * hourMs * nanosPerMs,
    },
  ]
  const addConsumer = (level: Level): Promise<unknown> =>
    ensure(
      () => manager.consumers.info(names.tasks, level),
      () =>
        manager.consumers.add(names.tasks, {
          durable_name: level,
          filter_subject: names.tasksAt(level),
          ack_policy: 'explicit',
          ack_wait: leaseMs * nanosPerMs,
          // Agents count: a server would keep the message, and tell nobody who is away.
          max_deliver: -1,
          max_ack_pending: chunksMax,
        }),
    )
  try {
    const rules = await untilAnswered(
      settings,
      async () => {
        await Promise.all(streams.map(add))
        await Promise.all(LEVELS.map(addConsumer))
        return await rulesOf(manager, names)
      },
      waiting,
    )
    warnOfOthers(names, settings, rules)
    return rules
  } catch (cause) {
    const what = `the streams of the pool "${names.pool}" cannot be opened`
    if (!isForbidden(cause)) throw serverError(what, cause)
    throw serverError(
      what,
      cause,
      `if the pool is new, let a user who may do so make it (multiproc cluster create --pool ${names.pool}); else give this user the rights that docs/guide/cluster.md lists`,
    )
  }
}

async function rulesOf(manager: Nats['manager'], names: PoolNames): Promise<PoolRules> {
  const { config } = await manager.streams.info(names.tasks)
  const consumer = await manager.consumers.info(names.tasks, 'normal')
  return {
    leaseMs: (consumer.config.ack_wait ?? leaseMsDefault * nanosPerMs) / nanosPerMs,
    deliveriesMax: Number(config.metadata?.['deliveriesMax'] ?? deliveriesMaxDefault),
    replicas: config.num_replicas ?? 1,
  }
}

/** Who came first has set these, and whoever asks for something else is told that it is not what there is. */
function warnOfOthers(
  { pool }: PoolNames,
  { leaseMs, deliveriesMax, replicas }: ClusterSettings,
  rules: PoolRules,
): void {
  const facts = [
    ['lease', leaseMs, rules.leaseMs],
    ['maxDeliveries', deliveriesMax, rules.deliveriesMax],
    ['replicas', replicas, rules.replicas],
  ] as const
  for (const [option, asked, found] of facts) {
    if (asked === undefined || asked === found) continue
    process.emitWarning(
      `The pool "${pool}" has "${option}" ${found}, as it was set by who used its name first, and not ${asked} as it is asked for here\nTo fix: ask for ${found} or leave it out, or delete the streams MP_*_${pool} while nothing runs`,
      'ClusterWarning',
    )
  }
}

/** Looks first: who may not make streams can use those that are there. Two who make the same one get the same. */
export async function ensure(find: () => Promise<unknown>, make: () => Promise<unknown>): Promise<void> {
  try {
    await find()
    return
  } catch (error) {
    if (!isNotFound(error)) throw error
  }
  try {
    await make()
  } catch (error) {
    await find().catch(() => {
      throw error
    })
  }
}

/** The message that was written last under this subject, if there is one. */
export async function lastMessage(
  { manager }: Pick<Nats, 'manager'>,
  stream: string,
  subject: string,
): Promise<StoredMsg | undefined> {
  return (await unlessMissing(manager.streams.getMessage(stream, { last_by_subj: subject }))) ?? undefined
}

/** What was asked for, or `undefined` where the server does not have it. */
export async function unlessMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

export function isNotFound(error: unknown): boolean {
  const { code, status } = error as { code?: unknown; status?: unknown }
  // No stream; no consumer; no message.
  return code === 10059 || code === 10014 || code === 10037 || status === 404 || code === 404
}
