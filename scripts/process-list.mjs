// Lists the running processes with their parents and groups, so that the test runner can stop a whole test file and
// can see what the tests left behind. Answers undefined where neither /proc nor `ps` exists (Windows).
import { spawnSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'

/** @returns {{ pid: number, parent: number, group: number, command: string }[] | undefined} zombies are left out. */
export function listProcesses() {
  if (process.platform === 'linux') return listFromProc()
  if (process.platform === 'win32') return undefined
  const { stdout, status } = spawnSync('ps', ['-axo', 'pid=,ppid=,pgid=,stat=,args='], { encoding: 'utf8' })
  if (status !== 0) return undefined
  return stdout.split('\n').flatMap(line => {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line)
    if (match === null || match[4].startsWith('Z')) return []
    return [{ pid: Number(match[1]), parent: Number(match[2]), group: Number(match[3]), command: match[5] }]
  })
}

function listFromProc() {
  const found = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      // The second field is the program's name in parentheses and may itself contain spaces and parentheses.
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
      const [state, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (state === 'Z' || state === 'X') continue
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
      found.push({ pid: Number(name), parent: Number(parent), group: Number(group), command })
    } catch (error) {
      // The process ended between the listing and the reading.
      if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error
    }
  }
  return found
}

/** The process itself and all its descendants. */
export function familyOf(pid, processes) {
  const family = new Set([pid])
  for (let grown = true; grown;) {
    grown = false
    for (const each of processes) {
      if (!family.has(each.pid) && family.has(each.parent)) {
        family.add(each.pid)
        grown = true
      }
    }
  }
  return family
}
