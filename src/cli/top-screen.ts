/**
 * What `multiproc top` shows of one moment. Pure: lines from data. Invariant: no line is longer than the terminal is wide,
 * there are no more than fit, and what comes from a program cannot control the terminal.
 */
import type { Point, PoolRow, ProgramBrief, UpdateMessage, WorkerRow } from '../dashboard/live-messages.ts'
import {
  bytes,
  clock,
  count,
  duration,
  percent,
  rate,
  shortCount,
  taskTime,
} from '../dashboard/page/format.ts'
import { printable } from './printable.ts'

export interface Moment {
  program: ProgramBrief
  update: UpdateMessage
  point: Point | undefined
}

export interface ScreenSize {
  columns: number
  /** Undefined for as many as there are. */
  rows: number | undefined
  isColoured: boolean
}

type Style = 'bold' | 'dim' | 'alarm' | 'plain'

interface Line {
  text: string
  style: Style
}

const CODES: Record<Style, string> = { bold: '1', dim: '2', alarm: '33', plain: '' }
const ESCAPE = '\u001b['
const barWidth = 20
const failuresShown = 5

/** Of the columns that workers have: what is to the right, and how wide. */
const COLUMNS = [
  { title: 'WORKER', width: 20 },
  { title: 'STATE', width: 9 },
  { title: 'RUNS', width: 22 },
  { title: 'BUSY', width: -5 },
  { title: 'TASKS/S', width: -10 },
  { title: 'DONE', width: -11 },
  { title: 'FAILED', width: -7 },
  { title: 'CPU', width: -6 },
  { title: 'MEMORY', width: -9 },
]

export function topScreen(moment: Moment, { columns, rows, isColoured }: ScreenSize): string[] {
  const head = headLines(moment)
  const tail = [...callLines(moment.update.pools), ...failureLines(moment.update)]
  const body = poolLines(moment.update.pools)
  const room = rows === undefined ? body.length : Math.max(2, rows - head.length - tail.length)
  const hidden = body.length - room
  const shown =
    hidden > 0
      ? [...body.slice(0, room - 1), line(`  … ${hidden + 1} more lines: the terminal is too small`, 'dim')]
      : body
  const lines = [...head, ...shown, ...tail].slice(0, rows)
  return lines.map(({ text, style }) => {
    const cut = text.slice(0, columns)
    return isColoured && style !== 'plain' ? `${ESCAPE}${CODES[style]}m${cut}${ESCAPE}0m` : cut
  })
}

function line(text: string, style: Style = 'plain'): Line {
  return { text: printable(text), style }
}

function headLines({ program, update, point }: Moment): Line[] {
  const { command, pid, node, startedAtMs, state } = program
  const nowMs = point?.atMs ?? startedAtMs
  const word = state === 'running' ? '' : state === 'silent' ? ', busy or stopped' : ', ended'
  const lines = [
    line(`${command}  (pid ${pid}, Node.js ${node}, ${duration(nowMs - startedAtMs)}${word})`, 'bold'),
  ]
  if (!point) return [...lines, line('')]
  const tasks = Object.values(point.perSecond).reduce((sum, value) => sum + value, 0)
  const cpu = point.processorPercent === null ? '–' : percent(point.processorPercent)
  return [
    ...lines,
    line(
      `${rate(tasks)} tasks/s   ${point.busyWorkers} of ${point.workers} workers busy   ${shortCount(point.waiting)} waiting   ${shortCount(update.done)} done   ${shortCount(update.failed)} failed`,
    ),
    line(
      `median ${point.p50Ms === null ? '–' : taskTime(point.p50Ms)}   p99 ${point.p99Ms === null ? '–' : taskTime(point.p99Ms)}   memory ${bytes(point.memoryBytes)}   CPU ${cpu}   event loop ${percent(point.loopPercent)}`,
    ),
    line(''),
  ]
}

function poolLines(pools: readonly PoolRow[]): Line[] {
  if (pools.length === 0) return [line('no pool', 'dim')]
  return pools.flatMap(pool => [
    line(
      `${pool.name}  ${kindOf(pool)}${pool.state === 'running' ? '' : `, ${pool.state}`}  ${rate(pool.perSecond)} tasks/s, ${shortCount(pool.waiting)} waiting, ${shortCount(pool.done)} done, ${count(pool.failed)} failed`,
      'bold',
    ),
    ...(pool.workers.length === 0
      ? []
      : [line(columnsOf(COLUMNS.map(({ title }) => title)), 'dim'), ...pool.workers.map(workerLine)]),
    line(''),
  ])
}

function kindOf({ method, busyElsewhere, processes }: PoolRow): string {
  if (busyElsewhere !== null) return `${busyElsewhere} of ${processes} processes of a cluster busy`
  return method === 'spawn' ? 'processes' : 'threads'
}

function workerLine(worker: WorkerRow): Line {
  const { name, pid, threadId, state, functionName, runningMs, busyPercent, processorPercent, memoryBytes } =
    worker
  const place = threadId === null ? String(pid ?? '') : `t${threadId}`
  const runs =
    functionName === null ? '' : runningMs < 1000 ? functionName : `${functionName} ${duration(runningMs)}`
  const cells = [
    `${name} ${place}`,
    state,
    runs,
    percent(busyPercent),
    rate(worker.perSecond),
    shortCount(worker.done),
    count(worker.failed),
    processorPercent === null ? '–' : percent(processorPercent),
    memoryBytes === null ? '–' : bytes(memoryBytes),
  ]
  return line(columnsOf(cells), worker.failed > 0 ? 'alarm' : state === 'working' ? 'plain' : 'dim')
}

/** Texts to the left, numbers (of a negative width) to the right. */
function columnsOf(cells: readonly string[]): string {
  return cells
    .map((cell, at) => {
      const { width } = COLUMNS[at]!
      const cut = cell.slice(0, Math.abs(width) - (width > 0 ? 1 : 0))
      return width > 0 ? cut.padEnd(width) : cut.padStart(-width)
    })
    .join('')
    .replace(/^/, '  ')
}

function callLines(pools: readonly PoolRow[]): Line[] {
  const calls = pools.flatMap(({ name, calls }) => calls.map(call => ({ pool: name, ...call }))).slice(0, 8)
  return calls.map(({ pool, functionName, done, total, perSecond, remainingMs, failed }) => {
    const part = total === undefined || total === 0 ? undefined : done / total
    const filled = Math.round((part ?? 0) * barWidth)
    const bar =
      part === undefined
        ? ''
        : `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} ${percent(part * 100)}  `
    const left = remainingMs === undefined ? '' : `, ${duration(remainingMs)} left`
    const ofTotal = total === undefined ? 'done' : `of ${count(total)}`
    return line(
      `${bar}${functionName} in ${pool}: ${count(done)} ${ofTotal}, ${rate(perSecond)}/s${left}${failed > 0 ? `, ${count(failed)} failed` : ''}`,
    )
  })
}

function failureLines({ failures }: UpdateMessage): Line[] {
  if (failures.length === 0) return []
  const last = failures.slice(-failuresShown).toReversed()
  return [
    line(''),
    ...last.map(({ atMs, functionName, index, errorName, message }) =>
      line(
        `${clock(atMs)}  ${functionName}${index === undefined ? '' : ` #${index}`}  ${errorName}: ${message.split('\n')[0]!}`,
        'alarm',
      ),
    ),
  ]
}
