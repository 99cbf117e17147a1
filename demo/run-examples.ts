/** Runs all examples, one after the other, each in a process of its own as its user would. */
import { spawnSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Ends the demo when an example fails. */
export function runExamples(): void {
  const folder = fileURLToPath(new URL('../examples/', import.meta.url))
  const names = readdirSync(folder).filter(name => /^\d\d-.*\.js$/.test(name))
  for (const name of names.sort()) {
    console.log(`== examples/${name.replace(/\.js$/, '.ts')}`)
    const isOfCluster = readFileSync(folder + name, 'utf8').includes('MULTIPROC_CLUSTER')
    if (isOfCluster && process.env['MULTIPROC_CLUSTER'] === undefined) {
      console.log('Left out: it needs a server and an agent (see "multiproc cluster dev")\n')
      continue
    }
    const { status, signal, stderr } = spawnSync(process.execPath, [folder + name], {
      stdio: ['inherit', 'inherit', 'pipe'],
      encoding: 'utf8',
    })
    if (status !== 0 && stderr.includes('ERR_NOT_SUPPORTED')) {
      console.log('Left out: it needs the native addon (see "multiproc doctor")')
    } else if (status !== 0) {
      console.error(stderr)
      console.error(`The example ended with ${signal ?? `exit code ${status}`}`)
      process.exit(1)
    }
    console.log()
  }
}
