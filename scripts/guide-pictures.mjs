// Makes the pictures of the guide anew, in docs/images/: what the real programs of scripts/guide-pictures/programs/ write
// to a terminal, and a trace. Needs a build, Linux with script(1) of util-linux, and Chromium (see browser-tests.mjs).
// The pictures of the dashboard are those of "npm run test:browser".
//
//   npm run build && node scripts/guide-pictures.mjs [part of a name]...
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { TerminalProgram } from './guide-pictures/terminal-program.mjs'
import { terminalPage } from './guide-pictures/terminal-page.mjs'
import { tracePage } from './guide-pictures/trace-page.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const output = join(root, 'docs', 'images')
const programs = join(root, 'scripts', 'guide-pictures', 'programs')
const commandLine = join(root, 'dist', 'cli', 'cli-main.js')
const bytesMax = 200_000
const wanted = process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'multiproc-pictures-'))
// The programs run where a user's would, with the package in node_modules/.
cpSync(programs, folder, { recursive: true })
mkdirSync(join(folder, 'node_modules'))
symlinkSync(root, join(folder, 'node_modules', 'multiproc'))
const started = []

/** What a program of ours, as `node`, or the command line, as `multiproc`, shows; `command` is what a user would type. */
function start(command, args, size) {
  const program = TerminalProgram.start(['node', ...args], { cwd: folder, command, ...size })
  started.push(program)
  return program
}

/** Each gives the page of a picture. */
const pictures = {
  async 'progress-bars'() {
    const program = start('node shop.mjs', ['shop.mjs'], { columns: 100, rows: 12 })
    return terminalPage(
      await program.screenWhen(text => /hash .*60 of 60/.test(text) && /7\d of 180/.test(text)),
    )
  },
  async 'stats-table'() {
    const program = start('node stats.mjs', ['stats.mjs'], { columns: 132, rows: 20 })
    return terminalPage(await program.lastScreen())
  },
  async 'map-progress'() {
    mkdirSync(join(folder, 'pictures'))
    for (let index = 0; index < 400; index++) writeFileSync(join(folder, 'pictures', `${index}.jpg`), '')
    const options = ['-p', '4', '--progress', '--input', 'files', '"pictures/*.jpg"', '--to', 'sizes.ndjson']
    const args = [commandLine, 'map', './pictures.mjs#resize', ...options]
    const command = `multiproc map ./pictures.mjs#resize ${options.join(' ')}`
    const program = start(
      command,
      args.map(arg => arg.replaceAll('"', '')),
      { columns: 116, rows: 10 },
    )
    // Once in its midst, and at its end with what failed.
    const inMidst = await program.screenWhen(text => /2\d\d of 400/.test(text))
    return terminalPage(inMidst, await program.lastScreen())
  },
  async top() {
    const service = start('', ['service.mjs'], { columns: 100, rows: 10 })
    await service.screenWhen(text => text.includes('ready'))
    const args = [commandLine, 'top', '--once', String(service.programId)]
    return terminalPage(await start('multiproc top --once', args, { columns: 104, rows: 40 }).lastScreen())
  },
  async trace() {
    const file = join(folder, 'run.json')
    await start('', ['traced.mjs', file], { columns: 80, rows: 10 }).lastScreen()
    return tracePage(file)
  },
}

function chromiumPath() {
  const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
  const found = process.env['CHROMIUM_PATH'] ?? places.find(path => existsSync(path))
  if (found === undefined)
    throw new Error('The pictures need Chromium\nTo fix: apt-get install chromium, or set CHROMIUM_PATH')
  return found
}

/** Light and dark. */
async function shoot(browser, name, html) {
  for (const colorScheme of ['light', 'dark']) {
    const page = await browser.newPage({
      colorScheme,
      deviceScaleFactor: 1.5,
      viewport: { width: 1400, height: 900 },
    })
    await page.setContent(html)
    const path = join(output, `${name}${colorScheme === 'dark' ? '-dark' : ''}.png`)
    await page.locator('#picture').screenshot({ path, omitBackground: true })
    await page.close()
    const { size } = statSync(path)
    console.log(`${path}  ${Math.ceil(size / 1024)} KiB`)
    if (size > bytesMax)
      throw new Error(`${path} has ${size} bytes, more than ${bytesMax}\nTo fix: show less in it`)
  }
}

// Its sandbox needs rights that a container does not give; it sees no page but ours.
const browser = await chromium.launch({ executablePath: chromiumPath(), args: ['--no-sandbox'] })
try {
  for (const [name, make] of Object.entries(pictures)) {
    if (wanted.length > 0 && !wanted.some(part => name.includes(part))) continue
    await shoot(browser, name, await make())
  }
} finally {
  await browser.close()
  await Promise.all(started.map(program => program.end()))
  rmSync(folder, { recursive: true, force: true })
}
