/** Opens an address in the browser of the user, by the program of the system for that. */
import { spawn } from 'node:child_process'

/** Where there is no such program, nothing happens: whoever opens a page prints its address as well. */
export function openAddress(address: string): void {
  const [command, ...args] =
    process.platform === 'win32'
      ? ['rundll32', 'url.dll,FileProtocolHandler', address]
      : [process.platform === 'darwin' ? 'open' : 'xdg-open', address]
  const child = spawn(command, args, { stdio: 'ignore', detached: true })
  child.on('error', () => {})
  child.unref()
}
