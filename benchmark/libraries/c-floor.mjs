// What the machine itself takes, measured by floor/floor.c without any runtime. Linux with a C compiler only.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const source = fileURLToPath(new URL('../floor/floor.c', import.meta.url))

/** Compiles the program, and gives what runs it: it answers with the number that the program prints. */
function compileFloor() {
  const folder = mkdtempSync(join(tmpdir(), 'multiproc-floor-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const program = join(folder, 'floor')
  execFileSync(process.env.CC ?? 'cc', ['-O2', '-o', program, source], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  return (...args) => Number(execFileSync(program, args.map(String), { encoding: 'utf8' }))
}

export const cFloor = [
  {
    name: 'C floor',
    role: 'reference',
    home: 'process',
    onlyRows: ['argument-1mib', 'lock-hand-over'],
    load: async () => {
      const runFloor = compileFloor()
      return () => runFloor
    },
  },
]
