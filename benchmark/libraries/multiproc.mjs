// multiproc: processes and threads with the task functions by reference (exports of a module), and processes with
// closures, whose source and captured variables travel by value.
import tasks from '../tasks/tasks.cjs'

// Each closure captures a variable of this module that changes no result, so that none of them can go by reference.
const zero = 0
const { burn } = tasks
const closures = {
  square: x => x * x + zero,
  byteLength: bytes => bytes.length + zero,
  checksum: bytes => tasks.checksum(bytes) + ''.repeat(zero),
  sumOfEnds: bytes => bytes[0] + bytes[bytes.length - 1] + zero,
  makeBytes: length => new Uint8Array(length + zero).fill(7),
  burn: iterations => burn(iterations + zero),
}

async function importPool() {
  try {
    const { Pool } = await import('multiproc')
    if (Pool === undefined) throw new Error('multiproc has no export "Pool"')
    return Pool
  } catch (error) {
    const hint = 'To fix: run "npm ci && npm run build" in the repository, whose build this folder links to'
    throw new Error(`${error.message}\n${hint}`, { cause: error })
  }
}

const load = (context, functions) => async () => {
  const Pool = await importPool()
  return workers => {
    const pool = new Pool(context === 'thread' ? { processes: workers, context } : { processes: workers })
    return {
      run: (task, argument) => pool.apply(functions[task], [argument]),
      map: (task, items) => pool.map(functions[task], items),
      close: () => pool.terminate(),
    }
  }
}

const variant = (name, home, functions) => ({
  name,
  package: 'multiproc',
  role: 'subject',
  home,
  load: load(home, functions),
})

export const multiproc = [
  variant('multiproc process', 'process', tasks),
  variant('multiproc process, closure', 'process', closures),
  variant('multiproc thread', 'thread', tasks),
]
