/** The processes that another one has started, as Linux knows them. */
import { readFileSync, readdirSync } from 'node:fs'

export function childProcessesOf(parentPid: number): number[] {
  return readdirSync(`/proc/${parentPid}/task`).flatMap(thread => {
    try {
      const text = readFileSync(`/proc/${parentPid}/task/${thread}/children`, 'utf8').trim()
      return text === '' ? [] : text.split(' ').map(Number)
    } catch {
      // The thread, or all of it, has ended meanwhile.
      return []
    }
  })
}
