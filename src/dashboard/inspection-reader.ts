/**
 * Reads what the other side of an inspection says. Invariant: every field is checked and copied, and every list and text
 * is bounded, so that a program that lies can show wrong numbers and do nothing else.
 */
import type { TaskFailure } from '../pool/failure-log.ts'
import {
  type CallSnapshot,
  type FromProgram,
  type InspectedPool,
  type InspectedTable,
  type SpanTuple,
  type ToProgram,
  type WorkerSnapshot,
  PROTOCOL_VERSION,
} from './inspection-protocol.ts'
import { protocolError } from './json-lines.ts'

type Fields = Record<string, unknown>

const textMax = 10_000
const poolsMax = 256
const workersMax = 1000
const spansMax = 20_000

/** @throws ProcessError `ERR_PROTOCOL` */
export function readRequest(value: unknown): ToProgram {
  const fields = fieldsOf(value)
  if (fields['type'] !== 'look') throw protocolError('a request has an unknown type')
  return { type: 'look', failuresAfter: numberOf(fields['failuresAfter']) }
}

/** @throws ProcessError `ERR_PROTOCOL` */
export function readAnswer(value: unknown): FromProgram {
  const fields = fieldsOf(value)
  const { type } = fields
  if (type === 'hello') {
    const protocol = numberOf(fields['protocol'])
    if (protocol !== PROTOCOL_VERSION) {
      throw protocolError(
        `the program speaks version ${protocol} of it, and this is version ${PROTOCOL_VERSION}`,
      )
    }
    return {
      type,
      protocol,
      pid: numberOf(fields['pid']),
      command: textOf(fields['command']),
      node: textOf(fields['node']),
      startedAtMs: numberOf(fields['startedAtMs']),
    }
  }
  if (type !== 'snapshot') throw protocolError('an answer has an unknown type')
  return {
    type,
    atMs: numberOf(fields['atMs']),
    processorMs: numberOf(fields['processorMs']),
    loopActiveMs: numberOf(fields['loopActiveMs']),
    loopIdleMs: numberOf(fields['loopIdleMs']),
    memoryBytes: numberOf(fields['memoryBytes']),
    pools: listOf(fields['pools'], poolsMax, readPool),
    endedPools: listOf(fields['endedPools'], poolsMax, readPool),
    failures: listOf(fields['failures'], 100, readFailure),
    failureCount: numberOf(fields['failureCount']),
    tables: listOf(fields['tables'], 32, readTable),
  }
}

function readPool(value: unknown): InspectedPool {
  const fields = fieldsOf(value)
  return {
    number: numberOf(fields['number']),
    name: textOf(fields['name']),
    method: oneOf(fields['method'], ['spawn', 'thread']),
    state: oneOf(fields['state'], ['running', 'closed', 'terminated', 'broken']),
    processes: numberOf(fields['processes']),
    busyElsewhere: optional(fields['busyElsewhere'], numberOf),
    jobs: numberOf(fields['jobs']),
    waiting: numberOf(fields['waiting']),
    done: numberOf(fields['done']),
    failed: numberOf(fields['failed']),
    workersEnded: numberOf(fields['workersEnded']),
    bytesSent: numberOf(fields['bytesSent']),
    bytesReceived: numberOf(fields['bytesReceived']),
    workers: listOf(fields['workers'], workersMax, readWorker),
    calls: listOf(fields['calls'], 64, readCall),
    callsLeftOut: numberOf(fields['callsLeftOut']),
    longestTasks: listOf(fields['longestTasks'], 16, item => {
      const task = fieldsOf(item)
      return {
        name: textOf(task['name']),
        index: optional(task['index'], numberOf),
        count: numberOf(task['count']),
        durationMs: numberOf(task['durationMs']),
        arguments: textOf(task['arguments']),
      }
    }),
    times: listOf(fields['times'], 400, item => {
      const [step, tasks] = listOf(item, 2, numberOf)
      return [numberOf(step), numberOf(tasks)]
    }),
    spans: listOf(fields['spans'], spansMax, readSpan),
  }
}

function readWorker(value: unknown): WorkerSnapshot {
  const fields = fieldsOf(value)
  return {
    name: textOf(fields['name']),
    pid: optional(fields['pid'], numberOf),
    threadId: optional(fields['threadId'], numberOf),
    state: oneOf(fields['state'], ['starting', 'ready', 'stopping', 'ended']),
    isSpare: fields['isSpare'] === true,
    done: numberOf(fields['done']),
    failed: numberOf(fields['failed']),
    items: numberOf(fields['items']),
    workingMs: numberOf(fields['workingMs']),
    memoryBytes: optional(fields['memoryBytes'], numberOf),
    running: optional(fields['running'], item => {
      const running = fieldsOf(item)
      return { functionName: textOf(running['functionName']), forMs: numberOf(running['forMs']) }
    }),
  }
}

function readCall(value: unknown): CallSnapshot {
  const fields = fieldsOf(value)
  return {
    number: numberOf(fields['number']),
    functionName: textOf(fields['functionName']),
    done: numberOf(fields['done']),
    failed: numberOf(fields['failed']),
    retried: numberOf(fields['retried']),
    total: optional(fields['total'], numberOf),
    busyWorkers: numberOf(fields['busyWorkers']),
    workers: numberOf(fields['workers']),
    elapsedMs: numberOf(fields['elapsedMs']),
    perSecond: numberOf(fields['perSecond']),
    remainingMs: optional(fields['remainingMs'], numberOf),
    state: oneOf(fields['state'], ['running', 'finished', 'stopped']),
  }
}

function readSpan(value: unknown): SpanTuple {
  const [workerName, functionName, ...numbers] = listOf(value, 7, item => item)
  const [startMs, durationMs, tasks, failed, index] = numbers.map(numberOf)
  return [
    textOf(workerName),
    textOf(functionName),
    numberOf(startMs),
    numberOf(durationMs),
    numberOf(tasks),
    numberOf(failed),
    numberOf(index),
  ]
}

function readFailure(value: unknown): TaskFailure {
  const fields = fieldsOf(value)
  return {
    number: numberOf(fields['number']),
    atMs: numberOf(fields['atMs']),
    pool: textOf(fields['pool']),
    workerName: optional(fields['workerName'], textOf),
    pid: optional(fields['pid'], numberOf),
    functionName: textOf(fields['functionName']),
    index: optional(fields['index'], numberOf),
    attempt: numberOf(fields['attempt']),
    isRetried: fields['isRetried'] === true,
    errorName: textOf(fields['errorName']),
    message: textOf(fields['message']),
    stack: textOf(fields['stack']),
  }
}

function readTable(value: unknown): InspectedTable {
  const fields = fieldsOf(value)
  const columns = listOf(fields['columns'], 16, textOf)
  return {
    title: textOf(fields['title']),
    columns,
    rows: listOf(fields['rows'], 200, row => listOf(row, columns.length, textOf)),
  }
}

function fieldsOf(value: unknown): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw protocolError('an object is missing')
}

function numberOf(value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw protocolError('a number is missing')
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value.slice(0, textMax)
  throw protocolError('a text is missing')
}

function oneOf<Text extends string>(value: unknown, texts: readonly Text[]): Text {
  const found = texts.find(text => text === value)
  if (found !== undefined) return found
  throw protocolError(`a word is none of ${texts.join(', ')}`)
}

function listOf<Item>(value: unknown, countMax: number, read: (item: unknown) => Item): Item[] {
  if (Array.isArray(value) && value.length <= countMax) return value.map(item => read(item))
  throw protocolError(`a list of at most ${countMax} is missing`)
}

/** `null` stands for what is not known: JSON has no `undefined` in lists, and infinity becomes `null` too. */
function optional<Value>(value: unknown, read: (value: unknown) => Value): Value | undefined {
  return value === undefined || value === null ? undefined : read(value)
}
