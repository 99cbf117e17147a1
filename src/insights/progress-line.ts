/** The line that tells people how far a call is. Pure, so that every case can be looked at without a terminal. */
import type { Progress } from './progress-meter.ts'

const barWidth = 20

/** One line without its end. */
export function progressLine(progress: Progress, label = ''): string {
  const { done, failed, retried, total, elapsedMs, perSecond, remainingMs, busyWorkers, workers, state } =
    progress
  const isRunning = state === 'running'
  const parts = [total === undefined ? `${done} done` : `${done} of ${total}`, `${rounded(perSecond)}/s`]
  if (failed > 0) parts.push(`${failed} failed`)
  if (retried > 0) parts.push(`${retried} ${retried === 1 ? 'retry' : 'retries'}`)
  if (isRunning && remainingMs !== undefined) parts.push(`${duration(remainingMs)} left`)
  else if (!isRunning || total === undefined) parts.push(duration(elapsedMs))
  if (isRunning && workers > 0) parts.push(`${busyWorkers}/${workers} busy`)
  if (state === 'stopped') parts.push('stopped')
  const bar = total === undefined || total === 0 ? [] : [barOf(done / total)]
  return [...(label === '' ? [] : [label]), ...bar, parts.join(', ')].join(' ')
}

function barOf(part: number): string {
  const filled = Math.min(barWidth, Math.floor(part * barWidth))
  return '█'.repeat(filled) + '░'.repeat(barWidth - filled)
}

function rounded(value: number): string {
  return value >= 10 ? String(Math.round(value)) : value.toFixed(1)
}

/** In the two largest units. */
export function duration(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}
