/** Debian's Chromium, driven by Playwright's core. The tests run by `npm run test:browser`: they need a browser. */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, type BrowserContextOptions, type Page, chromium } from 'playwright-core'

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Why the tests do not run, or `false`. Who asks for them must have a browser: a test that is skipped then says nothing. */
export const skipped =
  process.env['BROWSER_TESTS'] !== '1' && 'runs by "npm run test:browser", which needs Chromium'

export const screenshotFolder = fileURLToPath(new URL('../../../build/screenshots/', import.meta.url))

/** An open page, and what went wrong in it. */
export class OpenPage implements AsyncDisposable {
  readonly page: Page
  /** Errors of the console (those of the content security policy too), and what was thrown. */
  readonly errors: string[] = []

  private constructor(page: Page) {
    this.page = page
    page.on('console', message => {
      if (message.type() === 'error' || message.type() === 'warning') this.errors.push(message.text())
    })
    page.on('pageerror', error => this.errors.push(error.stack ?? error.message))
  }

  static async open(address: string, options: BrowserContextOptions = {}): Promise<OpenPage> {
    const context = await (await browser()).newContext({ viewport: { width: 1440, height: 900 }, ...options })
    const open = new OpenPage(await context.newPage())
    await open.page.goto(address)
    return open
  }

  /** The text of a tile, such as "Done". */
  async tile(title: string): Promise<string> {
    const tile = this.page.locator('.tile', { has: this.page.getByText(title, { exact: true }) })
    return await tile.locator('.value').innerText()
  }

  async screenshot(name: string): Promise<void> {
    mkdirSync(screenshotFolder, { recursive: true })
    await this.page.screenshot({ path: join(screenshotFolder, `${name}.png`) })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.context().close()
  }
}

let started: Promise<Browser> | undefined

function browser(): Promise<Browser> {
  const executablePath = process.env['CHROMIUM_PATH'] ?? PLACES.find(place => existsSync(place))
  if (executablePath === undefined) {
    throw new Error(
      `The browser tests need Chromium, which is in none of ${PLACES.join(', ')}\nTo fix: apt-get install chromium, or set CHROMIUM_PATH`,
    )
  }
  // Its sandbox needs rights that a container does not give; it sees no page but ours.
  return (started ??= chromium.launch({ executablePath, args: ['--no-sandbox'] }))
}

export async function closeBrowser(): Promise<void> {
  await (await started)?.close()
}
