// Builds the native addon with the address and undefined-behaviour sanitizers, and runs the tests that use it most. A
// finding ends the process that made it, and so fails a test; what the sanitizer printed is in the output.
//
//   npm run sanitize [part of a path...]
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildNative } from './build-native.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const USUAL_TESTS = [
  'platform/heap',
  'platform/shared',
  'memory/',
  'sync/',
  'queue/',
  'socket/',
  'transport/connection',
]

const binary = buildNative({
  isForced: true,
  flags: ['-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'],
  output: join(root, 'build', 'native', 'sanitized.node'),
})
if (binary === undefined) process.exit(1)

/** The runtime of the sanitizer has to be there before Node.js begins. */
const runtimes = ['libasan.so', 'libubsan.so'].map(name => {
  const { stdout } = spawnSync(process.env['CC'] ?? 'cc', [`-print-file-name=${name}`], { encoding: 'utf8' })
  return stdout.trim()
})
const wanted = process.argv.slice(2)
const { status } = spawnSync(
  process.execPath,
  [join(root, 'scripts', 'test.mjs'), ...(wanted.length > 0 ? wanted : USUAL_TESTS)],
  {
    stdio: 'inherit',
    env: {
      ...process.env,
      MULTIPROC_NATIVE: binary,
      LD_PRELOAD: runtimes.join(':'),
      // Node.js itself keeps memory to its end, and starts children that do. The handlers of V8 for its traps come first.
      ASAN_OPTIONS: 'detect_leaks=0:handle_segv=0:allow_user_segv_handler=1',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
  },
)
process.exit(status ?? 1)
