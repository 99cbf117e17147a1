/** What is printed when a wait of the soak passes its deadline: where everybody is, as far as it can be known from outside. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually } from '../leak-check.js'
import { reportName } from './desk.js'
import { heapCensus } from './heap-census.js'

const REPORT_MS_MAX = 3000
/** In the masks of signals that the kernel tells. */
const SIGUSR2_BIT = 1n << BigInt(constants.signals.SIGUSR2 - 1)

/** The JavaScript stack of a process that runs an actor, and what the kernel says of it. */
export async function whereIs(pid: number): Promise<string> {
  const read = (name: string): string => {
    try {
      return readFileSync(`/proc/${pid}/${name}`, 'utf8').trim()
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error)
    }
  }
  const state = /^State:\s*(.*)$/m.exec(read('status'))?.[1] ?? 'gone'
  const lines = [`state ${state}, in the kernel: ${read('wchan')}`]
  const path = join(tmpdir(), reportName(pid))
  // Only who has said so writes a report; others, which have not begun yet, would end.
  const caught = BigInt(`0x${/^SigCgt:\s*(\w+)$/m.exec(read('status'))?.[1] ?? '0'}`)
  if ((caught & SIGUSR2_BIT) !== 0n) lines.push(await stackOf(pid, path))
  return lines.join('\n')
}

async function stackOf(pid: number, path: string): Promise<string> {
  try {
    process.kill(pid, 'SIGCONT')
    process.kill(pid, 'SIGUSR2')
  } catch (error) {
    return String(error)
  }
  const giveUpAt = Date.now() + REPORT_MS_MAX
  let report: { javascriptStack: { message: string; stack: string[] }; libuv: { type: string }[] } | undefined
  await eventually(() => {
    if (existsSync(path)) {
      try {
        report = JSON.parse(readFileSync(path, 'utf8')) as typeof report
      } catch {
        // It is not complete yet.
      }
    }
    return report !== undefined || Date.now() > giveUpAt
  })
  rmSync(path, { force: true })
  if (report === undefined) return 'blocked: it does not return to its event loop'
  const { javascriptStack, libuv } = report
  const stack = javascriptStack.stack ?? []
  return [
    stack.length === 0 ? 'in its event loop' : stack.join('\n'),
    `handles: ${libuv.map(({ type }) => type).join(' ')}`,
  ].join('\n')
}

export function heapState(): string {
  return JSON.stringify(heapCensus())
}
