// Programs that take work from a server: agents of multiproc, workers of BullMQ. They share the process group of their job,
// and so end with it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** Starts a program of this folder, and waits until it says that it takes work. */
export async function startWorker(name, settings, env = {}) {
  const file = fileURLToPath(new URL(name, import.meta.url))
  const child = spawn(process.execPath, [file, JSON.stringify(settings)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  await Promise.race([
    once(createInterface(child.stdout), 'line'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`${name} ended with code ${code} before it took work`)
    }),
  ])
  return child
}
