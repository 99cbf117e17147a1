/**
 * Ends a child when this program is gone, however it ended: also by `kill -9`. A small process has the other end of a
 * pipe, which the system closes then. Invariant: while this program lives, that process does nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** Runs there, with the child's pid and the folder. */
const watch = `
const [pid, folder] = process.argv.slice(1)
const tell = signal => {
  try {
    process.kill(Number(pid), signal)
    return true
  } catch {
    return false
  }
}
const leave = () => {
  if (folder !== undefined) require('node:fs').rmSync(folder, { recursive: true, force: true })
  process.exit()
}
process.stdin.on('error', () => {}).on('close', () => {
  tell('SIGTERM')
  setInterval(() => tell(0) || leave(), 20)
  setTimeout(() => {
    tell('SIGKILL')
    leave()
  }, 2000)
}).resume()
`

/**
 * Sees that `child` does not outlive this program, nor, when it is given, `folder`. Resolves when `ended` has, and the
 * process with it. (Who kills both that process and this program leaves the child.)
 */
export async function endWithProgram(
  child: ChildProcess,
  { ended, folder }: { ended: Promise<unknown>; folder?: string | undefined },
): Promise<void> {
  const watcher = spawn(
    process.execPath,
    ['-e', watch, String(child.pid), ...(folder === undefined ? [] : [folder])],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
      // What is sent to the group of this program, by a terminal or by a kill of all of it, is not for that process.
      detached: true,
      windowsHide: true,
      // It loads nothing else, and nobody is to debug it.
      env: { ...process.env, NODE_OPTIONS: '' },
    },
  )
  // Without it the child ends with this program unless that is killed.
  watcher.on('error', () => {})
  watcher.stdin.on('error', () => {})
  const watcherEnded = watcher.pid === undefined ? undefined : once(watcher, 'exit')
  await ended
  // The number of the child may become that of another process.
  watcher.kill('SIGKILL')
  await watcherEnded
}
