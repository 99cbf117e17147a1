/** Items as the bodies of a message. Invariant: each item is in the answer, or was told to be unsendable. */
import type { Job, Part } from './job.ts'
import type { Values } from './number-array.ts'
import { type Body, encodeBody } from './protocol.ts'

/** What is sent of some parts. */
export interface EncodedParts {
  parts: Part[]
  bodies: Body[]
  isPacked: boolean
}

/** Between those that follow each other, some may be missing, because they cannot be sent. */
export function contiguousRuns({ parts, bodies, isPacked }: EncodedParts): EncodedParts[] {
  if (isPacked || parts[0]!.job.isSingle) return [{ parts, bodies, isPacked }]
  const runs: EncodedParts[] = []
  let next: number | undefined
  for (const [index, part] of parts.entries()) {
    if (part.first !== next) runs.push({ parts: [], bodies: [], isPacked })
    const run = runs.at(-1)!
    run.parts.push(part)
    run.bodies.push(bodies[index]!)
    next = part.first + part.count
  }
  return runs
}

/** Encodes items for a worker: together if that works, else each alone; those that cannot be sent are told. */
export function encodeParts(
  parts: readonly Part[],
  connection: { canAttach: boolean; isElsewhere?: boolean },
  onUnsendable: (job: Job, index: number, error: unknown) => void,
): EncodedParts {
  const packed = parts.length === 1 ? parts[0]!.packed : undefined
  if (packed) return { parts: [...parts], bodies: [packed], isPacked: true }
  const items = itemsTogether(parts)
  if (items) {
    try {
      return {
        parts: [...parts],
        bodies: [encodeBody(items, connection, { isReadOften: true })],
        isPacked: true,
      }
    } catch {
      // One of them cannot be sent: it is found below, and fails alone.
    }
  }
  const sendable: Part[] = []
  const bodies: Body[] = []
  for (const part of parts) {
    for (let offset = 0; offset < part.count; offset++) {
      const single: Part = {
        job: part.job,
        first: part.first + offset,
        count: 1,
        items: part.items?.slice(offset, offset + 1),
        bodies: part.bodies?.slice(offset, offset + 1),
        isSolo: part.isSolo,
        deaths: part.deaths,
        attempt: part.attempt,
        kills: part.kills,
        chargedItemMs: part.chargedItemMs,
      }
      try {
        bodies.push(
          single.bodies?.[0] ??
            encodeBody(single.items![0], connection, { rootName: `item ${single.first}`, isReadOften: true }),
        )
        sendable.push(single)
      } catch (error) {
        onUnsendable(single.job, single.first, error)
      }
    }
  }
  return { parts: sendable, bodies, isPacked: false }
}

/** The items of all parts, unless some were encoded already, or are to travel alone. */
function itemsTogether(parts: readonly Part[]): Values | undefined {
  if (parts.length === 1) return parts[0]!.isSolo ? undefined : parts[0]!.items
  const together: unknown[] = []
  for (const { items, isSolo } of parts) {
    if (items === undefined || isSolo) return undefined
    for (let index = 0; index < items.length; index++) together.push(items[index])
  }
  return together
}
