/**
 * Opens where the results of `multiproc map` go, and the job log: a new one, or that of an earlier run, which then goes
 * on. The steps are in README.md of this folder.
 */
import { rmSync, statSync } from 'node:fs'
import { FileSink } from './file-sink.ts'
import type { FinishedItems } from './finished-items.ts'
import { FolderSink, resultsIn } from './folder-sink.ts'
import { JobLog } from './job-log.ts'
import { type LogHead, logHead } from './job-log-format.ts'
import { type EarlierRun, readJobLog } from './job-log-reader.ts'
import type { MapSettings } from './map-options.ts'
import type { ResultSink } from './result-sink.ts'
import { StreamSink } from './stream-sink.ts'
import { UsageError } from './usage-error.ts'

export interface Results {
  sink: ResultSink
  log: JobLog | undefined
  /** What an earlier run has finished and this one leaves out. */
  finished: FinishedItems | undefined
}

/** @throws UsageError when something is in the way, or cannot be written. */
export async function openResults(settings: MapSettings): Promise<Results> {
  const { joblog, isResume, isFailedRetried, target, output } = settings
  if (joblog === undefined)
    return { sink: openSink(settings, undefined, undefined), log: undefined, finished: undefined }
  const head = logHead(settings)
  const earlier = isResume ? await readJobLog(joblog, head, target) : undefined
  assertNothingInTheWay(settings, earlier)
  const finished = earlier?.finished
  if (isFailedRetried) finished?.forgetFailed()
  if (finished !== undefined && target.is === 'folder') {
    const results = resultsIn(target.path, output)
    finished.forgetUnless(number => results.has(number))
  }
  const isNew = earlier === undefined
  const log = openLog(joblog, head, { isNew })
  try {
    return { sink: openSink(settings, log, earlier), log, finished }
  } catch (error) {
    log.close()
    // Nothing has begun: the next run is to find nothing in its way.
    if (isNew) rmSync(joblog, { force: true })
    throw error
  }
}

function openSink(
  { target, output }: MapSettings,
  log: JobLog | undefined,
  earlier: EarlierRun | undefined,
): ResultSink {
  if (target.is === 'stdout') return new StreamSink(process.stdout, log)
  if (target.is === 'folder') return new FolderSink(target.path, { output, log })
  return new FileSink(target.path, { end: earlier?.outputEnd ?? 0, log })
}

function openLog(path: string, head: LogHead, { isNew }: { isNew: boolean }): JobLog {
  try {
    return new JobLog(path, head, { isNew })
  } catch (error) {
    throw new UsageError(
      `Cannot write the job log "${path}": ${(error as Error).message}\nTo fix: name a file in a folder that exists and that you may write to`,
    )
  }
}

function assertNothingInTheWay(
  { joblog, isResume, target }: MapSettings,
  earlier: EarlierRun | undefined,
): void {
  const logStats = statSync(joblog!, { throwIfNoEntry: false })
  if (!isResume && logStats !== undefined && logStats.size > 0) {
    throw new UsageError(
      `The job log "${joblog}" is there already\nTo fix: add --resume to go on with the run that it is of, or delete it to begin anew`,
    )
  }
  if (!isResume || earlier !== undefined || logStats !== undefined || target.is !== 'file') return
  // A run writes its log first. So this is the output of something else.
  if ((statSync(target.path, { throwIfNoEntry: false })?.size ?? 0) === 0) return
  throw new UsageError(
    `Cannot resume: there is no job log "${joblog}", but there are results in "${target.path}", which would be lost\nTo fix: name the log that belongs to them, delete the results, or leave --resume out`,
  )
}
