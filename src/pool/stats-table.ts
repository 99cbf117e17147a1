/** The numbers of a pool as a table for people. Pure: text from data. */
import type { PoolStats, WorkStats, WorkerStats } from './pool-stats.ts'

const HEADS = [
  'worker',
  'state',
  'done',
  'failed',
  'start',
  'init',
  'waiting',
  'working',
  'exit',
  'sent',
  'received',
  'memory',
]

export function statsTable({ workers, ended, total, longestTasks }: PoolStats): string {
  const rows = [...ended, ...workers].map(worker => {
    const { state, memoryBytes } = worker
    return [nameOf(worker), state, ...numbersOf(worker), memoryBytes === undefined ? '' : bytes(memoryBytes)]
  })
  rows.push([`all ${total.workers}`, '', ...numbersOf(total), ''])
  const lines = aligned([HEADS, ...rows])
  if (longestTasks.length > 0) {
    lines.push('', 'longest tasks:')
    for (const { name, index, count, durationMs, arguments: given } of longestTasks) {
      const item =
        index === undefined ? '' : count === 1 ? ` item ${index}` : ` items ${index}-${index + count - 1}`
      lines.push(`  ${time(durationMs)}  ${name}(${given})${item}`)
    }
  }
  return lines.join('\n')
}

/** With where it runs, if that is in one place. */
function nameOf({ name, pid, threadId }: WorkerStats): string {
  if (threadId !== undefined) return `${name} (thread ${threadId})`
  return pid === undefined ? name : `${name} (pid ${pid})`
}

function numbersOf({ done, failed, times, bytesSent, bytesReceived }: WorkStats): string[] {
  const { startMs, initMs, waitingMs, workingMs, exitMs } = times
  return [
    String(done),
    String(failed),
    ...[startMs, initMs, waitingMs, workingMs, exitMs].map(time),
    bytes(bytesSent),
    bytes(bytesReceived),
  ]
}

/** The first two columns to the left, numbers to the right. */
function aligned(rows: readonly string[][]): string[] {
  const widths = HEADS.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  return rows.map(row =>
    row
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  )
}

function time(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

function bytes(count: number): string {
  if (count < 1024) return `${count} B`
  if (count < 1024 ** 2) return `${(count / 1024).toFixed(1)} KiB`
  return count < 1024 ** 3 ? `${(count / 1024 ** 2).toFixed(1)} MiB` : `${(count / 1024 ** 3).toFixed(1)} GiB`
}
