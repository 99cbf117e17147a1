// Python's multiprocessing, measured by python/measure.py: its default start method of Linux for every row, the
// other two where the start is what is measured.
import { execFileSync } from 'node:child_process'

export const pythonCommand = process.env.PYTHON ?? 'python3'

const variant = (method, onlyRows) => ({
  name: `Python ${method}`,
  role: 'python',
  home: 'python',
  onlyRows,
  startMethod: method,
})

const startRows = ['first-result-cold', 'first-result', 'idle-memory']

export const python = [
  variant('fork', undefined),
  variant('forkserver', startRows),
  variant('spawn', startRows),
]

/** The version of the Python that PYTHON, or else the PATH, names; throws when there is none. */
export function pythonVersion() {
  return execFileSync(pythonCommand, ['-c', 'import platform; print(platform.python_version())'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim()
}
