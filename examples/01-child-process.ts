/** Runs a function in a process of its own, waits until it has ended, and goes on. */
import { Process } from 'multiproc'

function work(): void {
  console.log('This is a child process')
}

const child = new Process({ target: work })
child.start()
await child.join()
console.log('This is the parent process')
