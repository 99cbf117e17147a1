/**
 * A process has its own copy of every variable: what it changes stays there. A thread has its own copies too, but
 * a SharedArrayBuffer is the same memory on both sides.
 */
import { Process } from 'multiproc'

let counter = 0

function increment(): void {
  counter += 1
  console.log(`Child process: counter is ${counter}`)
}

const child = new Process({ target: increment })
child.start()
await child.join()
console.log(`Parent process: counter is ${counter}`)

function incrementShared(buffer: SharedArrayBuffer): void {
  const view = new Int32Array(buffer)
  Atomics.add(view, 0, 1)
  console.log(`Thread: shared counter is ${view[0]}`)
}

const shared = new SharedArrayBuffer(4)
const thread = new Process({ target: incrementShared, args: [shared], context: 'thread' })
thread.start()
await thread.join()
console.log(`Parent process: shared counter is ${new Int32Array(shared)[0]}`)
