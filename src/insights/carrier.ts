/** The short texts that travel with a call. Invariant: however many a tool puts there, a bounded part of them travels. */

/**
 * What travels with a call into its tasks: short texts, such as a `traceparent`. A tool puts them there at the start of
 * the call, and finds them at the start of each task.
 */
export type Carrier = Record<string, string>

const entriesMax = 32
const charactersMax = 8192

/** What of a carrier travels: texts, 32 at most and together 8 KiB. `undefined` for nothing. */
export function sendableCarrier(carrier: Carrier): Carrier | undefined {
  const entries: [string, string][] = []
  let characters = 0
  for (const [key, value] of Object.entries(carrier as Record<string, unknown>)) {
    if (typeof value !== 'string') continue
    characters += key.length + value.length
    if (entries.length === entriesMax || characters > charactersMax) break
    entries.push([key, value])
  }
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}
