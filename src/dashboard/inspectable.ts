/**
 * Makes a program with pools one that can be looked at: `multiproc dashboard` and `multiproc top` find it. Invariant: a
 * program without pools, a short one, a child, and one with MULTIPROC_INSPECT=0 never load any of it; nothing of it keeps
 * a program alive; and when the last pool has ended and nobody watches, it is gone again.
 */
import { isMainThread } from 'node:worker_threads'
import { livePools, observePools } from '../pool/live-pools.ts'
import { processState } from '../process/process-state.ts'
import type { InspectionServer } from './inspection-server.ts'

/** `0`: no inspection. A word: at once, under this tag. */
export const INSPECT_VARIABLE = 'MULTIPROC_INSPECT'

/** Programs that have pools for a shorter time pay nothing. */
const afterMs = 1000

let timer: NodeJS.Timeout | undefined
let server: InspectionServer | undefined
let isOpening = false

/** Called once, when the library is loaded; costs an entry in a set. */
export function makeInspectable(): void {
  observePools({ opened: openSoon, ended: closeIfDone })
}

function openSoon(): void {
  if (timer !== undefined || server || isOpening) return
  // A child is seen through the pools of its parent.
  if (!isMainThread || processState.parent !== undefined) return
  const setting = process.env[INSPECT_VARIABLE] ?? ''
  if (setting === '0') return
  const tag = /^[0-9a-z]{2,32}$/.test(setting) ? setting : undefined
  if (tag === undefined) timer = setTimeout(open, afterMs).unref()
  else open(tag)
}

function open(tag?: string): void {
  timer = undefined
  isOpening = true
  openServer(tag).catch((error: unknown) => {
    // The program goes on: it can only not be looked at.
    process.emitWarning(`Nobody can look at the pools of this program: ${String(error)}`)
  })
}

async function openServer(tag: string | undefined): Promise<void> {
  const { InspectionServer } = await import('./inspection-server.ts')
  server = await InspectionServer.open(tag)
  isOpening = false
  if (!server) return
  server.onIdle = closeIfDone
  closeIfDone()
}

/** The next pool opens it again. */
function closeIfDone(): void {
  for (const _ of livePools()) return
  clearTimeout(timer)
  timer = undefined
  if (!server || server.isWatched) return
  server.close()
  server = undefined
}
