/** Numbers as people read them. Widths change little from one moment to the next, so that nothing jumps. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const short = new Intl.NumberFormat('en', {
  notation: 'compact',
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
})

/** `12,345`. */
export function count(value: number): string {
  return whole.format(value)
}

/** `12,345`, and `1.2M` from a million on. */
export function shortCount(value: number): string {
  return value < 1_000_000 ? whole.format(value) : short.format(value)
}

/** Tasks in a second. */
export function rate(value: number): string {
  if (value === 0) return '0'
  if (value < 10) return value.toFixed(1)
  return shortCount(value)
}

export function percent(value: number): string {
  return `${Math.round(value)}%`
}

export function bytes(value: number): string {
  if (value < 1024 ** 2) return `${Math.round(value / 1024)} KiB`
  if (value < 1024 ** 3) return `${(value / 1024 ** 2).toFixed(0)} MiB`
  return `${(value / 1024 ** 3).toFixed(2)} GiB`
}

/** How long one task took. */
export function taskTime(ms: number): string {
  if (ms < 0.9995) return `${(ms * 1000).toFixed(0)} µs`
  if (ms < 9.95) return `${ms.toFixed(2)} ms`
  if (ms < 995) return `${ms.toFixed(0)} ms`
  return duration(ms)
}

/** In the two largest units. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`
}

/** The time of day. */
export function clock(atMs: number): string {
  const date = new Date(atMs)
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}
