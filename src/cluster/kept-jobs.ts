/**
 * Calls with which other programs can go on: stored when they are made, and taken over by whoever attaches. Invariant:
 * one program at a time goes on with a call, the one that took it over last; see "Jobs" in README.md.
 */
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { AuthenticationError, ProcessError } from '../errors.ts'
import { hostName } from '../platform/host-name.ts'
import type { ClusterSettings } from '../pool/cluster-option.ts'
import { type KeptCall, type KeptJob, type KnownChunk, firstEpochMax } from '../pool/kept-call.ts'
import { PoolNames, chunkNameIn } from './names.ts'
import { type Nats, closeNats, connectNats, serverError } from './nats-client.ts'
import { PayloadStore } from './payload-store.ts'
import { lastMessage, openStreams } from './pool-streams.ts'
import { Post } from './post.ts'
import { readAll } from './read-all.ts'
import { untilAnswered } from './until-answered.ts'
import {
  type ChunkPlace,
  type DriverHead,
  type JobHead,
  type ResultHead,
  type WorkHead,
  placeOf,
} from './work-message.ts'

/** Somebody else took it over at the same moment. */
const claimsMax = 20
const wrongSequence = 10071

/** The session under which all programs send the chunks of a call. */
export function sessionOf(jobId: string): string {
  return createHash('sha256').update(`job\0${jobId}`).digest('hex').slice(0, 24)
}

interface Tools {
  nats: Nats
  names: PoolNames
  post: Post
  settings: ClusterSettings
  jobId: string
  session: string
}

export async function createJob(settings: ClusterSettings, jobId: string, call: KeptCall): Promise<KeptJob> {
  return await withTools(settings, jobId, async tools => {
    const { nats, names, post, session } = tools
    const subject = names.job(session)
    let fromSequence: number
    if (await messageAt(tools, subject)) throw alreadyExists(names, jobId)
    const since = new Date().toISOString()
    const head: JobHead = { jobId, call: call.head, since }
    const frames = [call.task, call.taskByValue, call.content, call.stores]
    // Two programs may choose one id at the same moment.
    const name = `job-${session}-${randomBytes(6).toString('hex')}`
    let letter: { bytes: Uint8Array; storedName: string | undefined }
    try {
      letter = await untilAnswered(settings, () => post.write(subject, { name, head, frames }))
      // A repetition, because the answer was lost, is recognised by the id.
      const { seq } = await untilAnswered(settings, () =>
        nats.publisher.publish(subject, letter.bytes, {
          msgID: `job.${session}.${since}.${process.pid}`,
          expect: { lastSubjectSequence: 0 },
        }),
      )
      fromSequence = seq
    } catch (cause) {
      if ((cause as { code?: unknown }).code === wrongSequence) throw alreadyExists(names, jobId)
      throw serverError('it does not keep a job', cause)
    }
    const epoch = await drive(tools, head, fromSequence)
    return {
      jobId,
      session,
      epoch,
      fromSequence,
      known: [],
      storedName: letter.storedName,
      isCalledOff: false,
    }
  })
}

export async function claimJob(
  settings: ClusterSettings,
  jobId: string,
): Promise<{ job: KeptJob; call: KeptCall }> {
  return await withTools(settings, jobId, async tools => {
    const { names, post, session } = tools
    const subject = names.job(session)
    const message = await messageAt(tools, subject)
    const letter = message && (await post.read(subject, message.data))
    if (letter === 'forged') {
      throw new AuthenticationError(
        `The job "${jobId}" of the pool "${names.pool}" was stored with another key\nTo fix: attach with the MULTIPROC_AUTH_KEY of the program that submitted it`,
        { reason: 'another key' },
      )
    }
    if (message === undefined || letter === undefined || letter === 'gone') {
      throw new ProcessError(
        'ERR_NOT_FOUND',
        `The pool "${names.pool}" has no job "${jobId}": it was never submitted or was called off, or it began more than a day ago\nTo fix: see "multiproc cluster jobs" for those that there are, and submit it again`,
      )
    }
    const { call: head } = letter.head as JobHead
    const [task, taskByValue, content, stores] = letter.frames
    // From here on the program before sends nothing more that counts.
    const fromSequence = message.seq
    const epoch = await drive(tools, letter.head as JobHead, fromSequence)
    const known = await knownChunks(tools, fromSequence)
    const call: KeptCall = {
      head,
      task: task!,
      taskByValue: taskByValue!,
      content: content!,
      stores: stores!,
    }
    const { storedName } = letter
    return { job: { jobId, session, epoch, fromSequence, known, storedName, isCalledOff: false }, call }
  })
}

async function withTools<T>(
  settings: ClusterSettings,
  jobId: string,
  act: (tools: Tools) => Promise<T>,
): Promise<T> {
  const nats = await connectNats(settings, { name: 'job' })
  try {
    const names = new PoolNames(settings.poolName)
    await openStreams(nats, names, settings)
    const post = new Post(settings.key, nats, new PayloadStore(nats, names))
    return await act({ nats, names, post, settings, jobId, session: sessionOf(jobId) })
  } finally {
    await closeNats(nats)
  }
}

/**
 * Says that this program goes on with the call. Whoever did before hears it, and stops. What is there from before
 * `fromSequence` is of another job, whose id was the same.
 */
async function drive(tools: Tools, { jobId, call, since }: JobHead, fromSequence: number): Promise<number> {
  const { nats, names, post, settings, session } = tools
  const subject = names.driver(session)
  for (let attempt = 0; attempt < claimsMax; attempt++) {
    const last = await messageAt(tools, subject)
    const isOfJob = last !== undefined && last.seq > fromSequence
    const before = isOfJob ? post.readNote(subject, last.data)?.head : undefined
    const epochBefore =
      isOfJob && !before
        ? await newestEpoch(tools, subject, fromSequence)
        : (before as DriverHead | undefined)?.epoch
    const epoch = (epochBefore ?? randomInt(firstEpochMax)) + 1
    const { taskName, items } = call
    const head: DriverHead = { jobId, taskName, items, since, epoch, host: hostName(), pid: process.pid }
    try {
      await untilAnswered(settings, () =>
        nats.publisher.publish(subject, post.note(subject, head), {
          msgID: `driver.${session}.${since}.${epoch}.${hostName()}.${process.pid}`,
          expect: { lastSubjectSequence: last?.seq ?? 0 },
        }),
      )
      return epoch
    } catch (cause) {
      if ((cause as { code?: unknown }).code !== wrongSequence)
        throw serverError('it does not let a job be taken over', cause)
    }
  }
  throw serverError(`the job "${jobId}" is taken over again and again by other programs`)
}

/** Of those that were sealed, where somebody without the key has written the last one. */
async function newestEpoch(
  { nats, names, post, settings }: Tools,
  subject: string,
  fromSequence: number,
): Promise<number | undefined> {
  let newest: number | undefined
  await untilAnswered(settings, async () => {
    for await (const { data } of readAll(nats, names.results, subject, fromSequence)) {
      const head = post.readNote(subject, data)?.head as DriverHead | undefined
      if (head) newest = Math.max(newest ?? 0, head.epoch)
    }
  })
  return newest
}

/** What was sent of the call: what waits or runs, and then what has its results, so that nothing is between the two. */
async function knownChunks(tools: Tools, fromSequence: number): Promise<KnownChunk[]> {
  const { nats, names, post, settings, session } = tools
  const known = new Map<number, KnownChunk>()
  const note = (chunkId: number, place: ChunkPlace | undefined, subject: string | undefined): void => {
    if (place) known.set(chunkId, { chunkId, ...place, subject })
  }
  const filter = names.tasksOf(session)
  const { state } = await untilAnswered(settings, () =>
    nats.manager.streams.info(names.tasks, { subjects_filter: filter }),
  )
  for (const subject of Object.keys(state.subjects ?? {})) {
    const name = chunkNameIn(subject)
    const message = await untilAnswered(settings, () => lastMessage(nats, names.tasks, subject))
    const letter = name && message && (await post.read(subject, message.data))
    if (typeof letter === 'object') note(name!.chunkId, placeOf((letter.head as WorkHead).chunk), subject)
  }
  // Read again as a whole, it notes the same.
  await untilAnswered(settings, async () => {
    for await (const { subject, data } of readAll(
      nats,
      names.results,
      names.resultsOf(session),
      fromSequence,
    )) {
      const name = chunkNameIn(subject)
      const letter = name && (await post.read(subject, data))
      if (typeof letter === 'object')
        note(name!.chunkId, (letter.head as ResultHead).place, known.get(name!.chunkId)?.subject)
    }
  })
  return [...known.values()].toSorted((one, other) => one.chunkId - other.chunkId)
}

async function messageAt({ nats, names, settings }: Tools, subject: string): ReturnType<typeof lastMessage> {
  return await untilAnswered(settings, () => lastMessage(nats, names.results, subject))
}

function alreadyExists({ pool }: PoolNames, jobId: string): ProcessError {
  return new ProcessError(
    'ERR_ALREADY_EXISTS',
    `The pool "${pool}" has a job "${jobId}" already\nTo fix: Pool.attach('${jobId}', { cluster, name }) gives its results; else choose another id, or delete it (multiproc cluster cancel ${sessionOf(jobId)})`,
  )
}
