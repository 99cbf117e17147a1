/** The dashboard as its users see it, in a real browser. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Server, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, describe, test } from 'node:test'
import { DashboardServer } from '#src/dashboard/dashboard-server.js'
import { ownProgram } from '#src/dashboard/program-source.js'
import { WatchedPrograms } from '#src/dashboard/watched-programs.js'
import { addInspectedTable } from '#src/insights/inspected-tables.js'
import { Pool } from 'multiproc'
import { checkLeaks } from '../leak-check.js'
import { OpenPage, closeBrowser, skipped } from './browser.js'

// Before the look for leaks: the browser is a child.
after(closeBrowser)
checkLeaks()

class OpenDashboard implements AsyncDisposable {
  readonly #programs = new WatchedPrograms()
  #server!: DashboardServer
  #isClosed = false

  static async open(): Promise<OpenDashboard> {
    const open = new OpenDashboard()
    open.#programs.add(ownProgram())
    open.#server = await DashboardServer.open(open.#programs, { keepsAlive: true })
    return open
  }

  get address(): string {
    return this.#server.address
  }

  /** As at the end of the program. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#programs.askNow()
    this.#programs.close()
    await this.#server.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function chargeCard(order: number): number {
  if (order % 10 === 4) throw new RangeError(`order ${order} has no card`)
  return order
}

const orders = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

describe('the dashboard in a browser', { skip: skipped }, () => {
  test('shows numbers that change without reloading, and no error in the console', async () => {
    await using dashboard = await OpenDashboard.open()
    await using pool = new Pool({ processes: 2, context: 'thread', name: 'orders' })
    await using open = await OpenPage.open(dashboard.address)
    const { page } = open
    let navigations = 0
    page.on('framenavigated', () => navigations++)
    await page.getByRole('heading', { name: 'orders' }).waitFor()
    for (const done of ['100', '1,100', '2,100']) {
      await pool.map(Math.sqrt, orders(done === '100' ? 100 : 1000))
      await page
        .locator('.tile', { hasText: 'Done' })
        .locator('.value', { hasText: new RegExp(`^${done}$`) })
        .waitFor()
    }
    await page.locator('#connection', { hasText: /^live$/ }).waitFor()
    assert.equal(await page.locator('table.workers tbody tr').count(), 2)
    assert.equal(await page.locator('.chart canvas').count(), 4)
    assert.equal(navigations, 0)
    assert.deepEqual(open.errors, [])
  })

  test('shows how far a call is, and what a worker runs', async () => {
    await using dashboard = await OpenDashboard.open()
    await using pool = new Pool({ processes: 1, context: 'thread', name: 'slow' })
    const call = pool.map(
      function resize(item: number): Promise<number> | number {
        return item < 3 ? item : new Promise(() => {})
      },
      orders(12),
      { chunkSize: 1, gracePeriod: 50 },
    )
    await using open = await OpenPage.open(dashboard.address)
    const { page } = open
    await page.getByText('3 of 12').waitFor()
    const bar = page.getByRole('progressbar', { name: 'Progress of resize in slow' })
    assert.equal(await bar.getAttribute('value'), '0.25')
    await page.locator('td.runs', { hasText: 'resize' }).waitFor()
    call.cancel()
    await assert.rejects(async () => await call)
    await bar.waitFor({ state: 'detached' })
    assert.deepEqual(open.errors, [])
  })

  test('shows a failing task with its stack', async () => {
    await using dashboard = await OpenDashboard.open()
    await using pool = new Pool({ processes: 1, context: 'thread', name: 'orders' })
    await using open = await OpenPage.open(dashboard.address)
    const { page } = open
    await pool.mapSettled(chargeCard, orders(30))
    const failure = page.locator('.failures li', { hasText: 'RangeError: order 24 has no card' })
    await failure.locator('summary').click()
    const stack = failure.locator('pre')
    assert.match(await stack.innerText(), /chargeCard/)
    assert.match(await stack.innerText(), /dashboard\.test/)
    assert.equal(await open.tile('Failed'), '3')
    // One that is open stays, whatever comes.
    await pool.mapSettled(chargeCard, orders(200))
    await page.locator('.tile', { hasText: 'Failed' }).locator('.value', { hasText: /^23$/ }).waitFor()
    assert.ok(await stack.isVisible())
    assert.deepEqual(open.errors, [])
  })

  test('refuses a wrong token, and pages of other origins', async () => {
    await using dashboard = await OpenDashboard.open()
    await using open = await OpenPage.open(dashboard.address)
    const { page } = open
    const wrong = dashboard.address.replace(/[\w-]{22}/, 'A'.repeat(22))
    const answer = await page.goto(wrong)
    assert.equal(answer!.status(), 403)
    assert.match(await page.innerText('body'), /token/)
    const foreign = createServer((_, response) => {
      response.setHeader('content-type', 'text/html').end('<!doctype html><title>foreign</title>')
    })
    await page.goto(await listen(foreign))
    // It knows the address, and gets nothing all the same.
    const found = await page.evaluate(async address => {
      const load = (name: 'script' | 'iframe' | 'img', path: string): Promise<string> =>
        new Promise(resolve => {
          const element = document.createElement(name)
          element.addEventListener('load', () =>
            resolve(name === 'iframe' ? frameText(element as HTMLIFrameElement) : 'loaded'),
          )
          element.addEventListener('error', () => resolve('refused'))
          element.setAttribute('src', `${address}${path}`)
          document.body.append(element)
        })
      const frameText = (frame: HTMLIFrameElement): string =>
        frame.contentDocument === null ? 'refused' : 'loaded'
      const ask = (mode: RequestMode): Promise<string> =>
        fetch(address, { mode }).then(
          () => 'loaded',
          () => 'refused',
        )
      const events = new Promise<string>(resolve => {
        const source = new EventSource(`${address}live`)
        source.addEventListener('open', () => resolve('loaded'))
        source.addEventListener('error', () => resolve('refused'))
      })
      return [
        await ask('cors'),
        await ask('no-cors'),
        await load('script', 'main.js'),
        await load('img', 'icon.svg'),
        await load('iframe', ''),
        await events,
      ]
    }, dashboard.address)
    assert.deepEqual(
      found,
      Array.from({ length: 6 }, () => 'refused'),
    )
    foreign.closeAllConnections()
    foreign.close()
  })

  test('shows names of programs as text, whatever is in them', async () => {
    await using dashboard = await OpenDashboard.open()
    const evil = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
    await using pool = new Pool({ processes: 1, context: 'thread', name: evil })
    const remove = addInspectedTable(() => ({ title: 'Machines', columns: ['name'], rows: [[evil]] }))
    await using open = await OpenPage.open(dashboard.address)
    const { page } = open
    await pool
      .apply(
        (text: string) => {
          throw new Error(text)
        },
        [evil],
      )
      .catch(() => {})
    await page.locator('.failures li', { hasText: evil }).waitFor()
    await page.getByRole('heading', { name: 'Machines' }).waitFor()
    assert.ok(await page.getByRole('heading', { name: evil }).isVisible())
    assert.equal(await page.title(), 'multiproc dashboard')
    assert.equal(await page.locator('main img').count(), 0)
    assert.deepEqual(open.errors, [])
    remove()
  })

  test('is used by keyboard: skip link, timeline, pause and theme', async () => {
    await using dashboard = await OpenDashboard.open()
    await using pool = new Pool({ processes: 2, context: 'thread', name: 'keys' })
    await using open = await OpenPage.open(dashboard.address)
    const { page } = open
    await pool.map(chargeCard, [1, 2, 3])
    await page.getByRole('heading', { name: 'keys' }).waitFor()
    await page.keyboard.press('Tab')
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Skip to the numbers')
    await page.keyboard.press('Enter')
    const timeline = page.locator('.timeline canvas')
    await timeline.focus()
    const details = page.locator('#timeline-details')
    // One of the two workers has run something.
    await page.waitForFunction(() => {
      const canvas = document.querySelector('.timeline canvas')!
      canvas.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown' }))
      return /chargeCard/.test(document.querySelector('#timeline-details')!.textContent)
    })
    assert.match(await details.innerText(), /^PoolWorker-\d: .*chargeCard/)
    await page.keyboard.press('Escape')
    await page.locator('main').focus()
    await page.keyboard.press('p')
    const pause = page.locator('#pause')
    assert.equal(await pause.getAttribute('aria-pressed'), 'true')
    const before = await open.tile('Done')
    await pool.map(Math.sqrt, orders(500))
    await page.evaluate(() => new Promise(requestAnimationFrame))
    assert.equal(await open.tile('Done'), before)
    await page.keyboard.press('p')
    await page.locator('.tile', { hasText: 'Done' }).locator('.value', { hasText: /^503$/ }).waitFor()
    await page.getByRole('radio', { name: 'Dark' }).focus()
    await page.keyboard.press('Space')
    assert.equal(
      await page.evaluate(() => getComputedStyle(document.body).backgroundColor),
      'rgb(14, 17, 22)',
    )
    await page.reload()
    await page.waitForFunction(() => document.documentElement.dataset['theme'] === 'dark')
    assert.deepEqual(open.errors, [])
  })

  test('keeps its last numbers when the program ends', async () => {
    await using dashboard = await OpenDashboard.open()
    const pool = new Pool({ processes: 1, context: 'thread', name: 'brief' })
    await using open = await OpenPage.open(dashboard.address)
    const { page } = open
    await page.getByRole('heading', { name: 'brief' }).waitFor()
    await pool.map(Math.sqrt, orders(77))
    await pool.terminate()
    await dashboard.close()
    await page.locator('#connection', { hasText: 'the program has ended' }).waitFor()
    assert.equal(await open.tile('Done'), '77')
    assert.deepEqual(open.errors, [])
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    for (const width of [1440, 360]) {
      test(`fits ${width} pixels in ${colorScheme}`, async () => {
        await using dashboard = await OpenDashboard.open()
        await using hashes = new Pool({ processes: 64, context: 'thread', name: 'hashes' })
        await using cards = new Pool({
          processes: 3,
          context: 'thread',
          name: 'a pool with a rather long name',
        })
        await using open = await OpenPage.open(dashboard.address, {
          colorScheme,
          viewport: { width, height: 900 },
        })
        const { page } = open
        await cards.mapSettled(chargeCard, orders(60))
        for (let round = 0; round < 3; round++) await hashes.map(Math.sqrt, orders(50_000))
        await page.locator('.failures li').first().waitFor()
        await page
          .locator('.tile', { hasText: 'Done' })
          .locator('.value', { hasText: /^150,060$/ })
          .waitFor()
        const [content, window] = await page.evaluate(() => [
          document.documentElement.scrollWidth,
          innerWidth,
        ])
        assert.equal(content, window, 'the page does not scroll sideways')
        await open.screenshot(`dashboard-${colorScheme}-${width}`)
        assert.deepEqual(open.errors, [])
      })
    }
  }
})

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}
