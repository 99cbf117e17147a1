// The tests of the dashboard in a real browser. They need Chromium: on Debian and Ubuntu, as root, it is installed if it
// is missing (--install), else the way to get it is told. Screenshots are in build/screenshots/.
//
//   node scripts/browser-tests.mjs [--install]
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const hasChromium = () =>
  [
    process.env['CHROMIUM_PATH'] ?? '',
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
  ].some(path => path !== '' && existsSync(path))

function run(command, args, env = {}) {
  return (
    spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } }).status ?? 1
  )
}

if (!hasChromium() && process.argv.includes('--install')) {
  run('apt-get', ['update', '-q'])
  run('apt-get', ['install', '-y', '-q', 'chromium'], { DEBIAN_FRONTEND: 'noninteractive' })
}
if (!hasChromium()) {
  console.error('The browser tests need Chromium\nTo fix: apt-get install chromium, or set CHROMIUM_PATH')
  process.exit(1)
}
process.exit(
  run(process.execPath, [join('scripts', 'test.mjs'), 'dashboard-browser'], { BROWSER_TESTS: '1' }),
)
