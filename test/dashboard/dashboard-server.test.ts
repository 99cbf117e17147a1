/** The web server of a dashboard: who is refused, what is served, and what a page is sent. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { describe, test } from 'node:test'
import { DashboardServer } from '#src/dashboard/dashboard-server.js'
import type { HistoryMessage, ProgramsMessage, UpdateMessage } from '#src/dashboard/live-messages.js'
import { PAGE_FILES } from '#src/dashboard/page-files.js'
import { ownProgram } from '#src/dashboard/program-source.js'
import { refusal } from '#src/dashboard/request-guard.js'
import { WatchedPrograms } from '#src/dashboard/watched-programs.js'
import { Pool } from 'multiproc'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

class OpenDashboard implements AsyncDisposable {
  readonly programs = new WatchedPrograms()
  server!: DashboardServer

  static async open(): Promise<OpenDashboard> {
    const open = new OpenDashboard()
    open.programs.add(ownProgram())
    open.server = await DashboardServer.open(open.programs, { keepsAlive: true })
    return open
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.programs.close()
    await this.server.close()
  }
}

interface Answer {
  status: number
  headers: IncomingMessage['headers']
  text: string
}

/** One request, as it is: `fetch` would not let its headers be chosen. */
async function ask(
  address: string,
  path: string,
  { headers = {}, method = 'GET' }: { headers?: Record<string, string>; method?: string } = {},
): Promise<Answer> {
  const { port } = new URL(address)
  const sent = request({ host: '127.0.0.1', port, path, method, headers, agent: false })
  sent.end()
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const pieces: Buffer[] = []
  for await (const piece of response) pieces.push(piece as Buffer)
  return { status: response.statusCode!, headers: response.headers, text: Buffer.concat(pieces).toString() }
}

describe('the dashboard', () => {
  test('is served to who has the address, and to nobody else', async () => {
    await using open = await OpenDashboard.open()
    const { address } = open.server
    const { pathname, host, port } = new URL(address)
    assert.match(address, /^http:\/\/127\.0\.0\.1:\d+\/[\w-]{22}\/$/)
    const page = await ask(address, pathname)
    assert.equal(page.status, 200)
    assert.match(page.text, /<title>multiproc dashboard<\/title>/)
    const wrong = `/${'x'.repeat(22)}/`
    const cases: [string, Parameters<typeof ask>[2], number][] = [
      ['/', {}, 403],
      [wrong, {}, 403],
      [`${wrong}live`, {}, 403],
      [`${pathname.slice(0, -2)}/`, {}, 403],
      [`//${host}${pathname}`, {}, 403],
      [pathname, { headers: { host: `evil.example:${port}` } }, 403],
      [pathname, { headers: { host: '127.0.0.1:1' } }, 403],
      [pathname, { headers: { origin: 'https://evil.example' } }, 403],
      [pathname, { headers: { origin: 'null' } }, 403],
      [pathname, { headers: { origin: `http://127.0.0.1:${Number(port) + 1}` } }, 403],
      [pathname, { headers: { 'sec-fetch-site': 'cross-site' } }, 403],
      [`${pathname}live`, { headers: { 'sec-fetch-site': 'same-site' } }, 403],
      [pathname, { method: 'POST' }, 405],
      [pathname, { headers: { origin: `http://127.0.0.1:${port}`, 'sec-fetch-site': 'same-origin' } }, 200],
      [pathname, { headers: { host: `localhost:${port}` } }, 200],
      [pathname.slice(0, -1), {}, 308],
      [`${pathname}..%2f..%2fpackage.json`, {}, 404],
      [`${pathname}../../package.json`, {}, 404],
      [`${pathname}main.ts`, {}, 404],
      [`${pathname}__proto__`, {}, 404],
    ]
    for (const [path, options, status] of cases) {
      const answer = await ask(address, path, options)
      assert.equal(answer.status, status, `${path} ${JSON.stringify(options)}`)
      if (status !== 200) assert.doesNotMatch(answer.text, /<title>/)
    }
  })

  test('says with every answer that nothing from elsewhere may be in it', async () => {
    await using open = await OpenDashboard.open()
    const { address } = open.server
    const { pathname } = new URL(address)
    for (const path of [pathname, `${pathname}style.css`, '/', `${pathname}none`]) {
      const { headers } = await ask(address, path)
      const policy = headers['content-security-policy'] as string
      assert.match(policy, /default-src 'none'/)
      assert.match(policy, /frame-ancestors 'none'/)
      assert.doesNotMatch(policy, /unsafe|\*|http/)
      assert.equal(headers['x-content-type-options'], 'nosniff')
      assert.equal(headers['referrer-policy'], 'no-referrer')
      assert.equal(headers['access-control-allow-origin'], undefined)
      assert.equal(headers['cache-control'], 'no-store')
    }
  })

  test('serves every file of the page, with its type and nothing inline', async () => {
    await using open = await OpenDashboard.open()
    const { address } = open.server
    const { pathname } = new URL(address)
    for (const name of PAGE_FILES) {
      const { status, headers, text } = await ask(address, `${pathname}${name}`)
      assert.equal(status, 200, name)
      assert.ok(text.length > 100, name)
      assert.match(headers['content-type']!, name.endsWith('.js') ? /javascript/ : /html|css|svg/)
      for (const [, imported] of text.matchAll(/\bfrom ['"]\.\/([^'"]+)['"]/g))
        assert.ok(PAGE_FILES.includes(imported!), `${name} imports ${imported}`)
    }
    const { text } = await ask(address, pathname)
    assert.doesNotMatch(text, /<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=/)
  })

  test('sends a page the programs, the history, and what changes', async () => {
    await using open = await OpenDashboard.open()
    await using pool = new Pool({ processes: 2, context: 'thread', name: 'live' })
    await pool.map(Math.sqrt, [1, 4, 9])
    await using stream = await EventStream.open(`${open.server.address}live`)
    const { programs, shown } = (await stream.next('programs')) as ProgramsMessage
    assert.deepEqual([programs.length, programs[0]!.pid, shown], [1, process.pid, String(process.pid)])
    const { pointsMax } = (await stream.next('history')) as HistoryMessage
    assert.equal(pointsMax, 600)
    const isRow = ({ pools }: UpdateMessage): boolean =>
      pools.some(({ name, done }) => name === 'live' && done === 3)
    await stream.until(isRow)
    await assert.rejects(async () => await pool.map(refuse, ['a', 'b']))
    // They may come one after the other.
    const failures: UpdateMessage['failures'] = []
    await stream.until(update => failures.push(...update.failures) === 2)
    assert.deepEqual(
      failures
        .map(({ functionName, message, pool: name }) => `${name} ${functionName} ${message}`)
        .toSorted((a, b) => (a < b ? -1 : 1)),
      ['a', 'b'].map(item => `live refuse cannot take ${item}`),
    )
    assert.match(failures[0]!.stack, /refuse/)
    await pool.terminate()
    const { pools } = await stream.until(update => update.pools.some(({ state }) => state === 'ended'))
    assert.equal(pools.find(({ name }) => name === 'live')!.done, 5)
    await open.server.close()
    await stream.next('end')
  })

  test('has room for 16 pages and no more', async () => {
    await using open = await OpenDashboard.open()
    const { address } = open.server
    const streams: EventStream[] = []
    for (let count = 0; count < 16; count++) streams.push(await EventStream.open(`${address}live`))
    const refused = await ask(address, `${new URL(address).pathname}live`)
    assert.equal(refused.status, 503)
    for (const stream of streams) await stream[Symbol.asyncDispose]()
  })

  test('says which port is taken', async () => {
    await using open = await OpenDashboard.open()
    const port = Number(new URL(open.server.address).port)
    const programs = new WatchedPrograms()
    await assert.rejects(DashboardServer.open(programs, { port, keepsAlive: true }), {
      code: 'ERR_NOT_SUPPORTED',
      message: /another program uses it/,
    })
    programs.close()
  })
})

describe('the option "dashboard" of a pool', () => {
  test('prints an address once, which is gone with the last pool that has it', async () => {
    const printed: string[] = []
    const { write } = process.stderr
    let hasPrinted = (): void => {}
    const isPrinted = new Promise<void>(resolve => {
      hasPrinted = resolve
    })
    process.stderr.write = (text: string | Uint8Array, ...rest: unknown[]): boolean => {
      printed.push(String(text))
      hasPrinted()
      for (const done of rest) if (typeof done === 'function') done()
      return true
    }
    try {
      const first = new Pool({ processes: 1, context: 'thread', dashboard: true })
      const second = new Pool({ processes: 1, context: 'thread', dashboard: { port: 0 } })
      await isPrinted
      const address = /http:\S+/.exec(printed.join(''))![0]
      const { pathname } = new URL(address)
      assert.equal((await ask(address, pathname)).status, 200)
      await first.terminate()
      assert.equal((await ask(address, pathname)).status, 200)
      await second.terminate()
      await assert.rejects(ask(address, pathname), { code: 'ECONNREFUSED' })
      assert.equal(printed.length, 1)
    } finally {
      process.stderr.write = write
    }
  })

  test('is refused when it makes no sense', () => {
    for (const dashboard of [1, 'yes', { port: -1 }, { port: 1.5 }, { port: 70_000 }, { prot: 1 }]) {
      assert.throws(() => new Pool({ processes: 1, dashboard: dashboard as never }), {
        code: 'ERR_INVALID_ARGUMENT',
      })
    }
  })
})

test('refusal() compares tokens of any length', () => {
  const at = { token: 'secret', port: 1 }
  const asked = (url: string): unknown =>
    refusal({ method: 'GET', headers: { host: '127.0.0.1:1' }, url }, at)
  assert.equal(asked('/secret/'), undefined)
  for (const url of ['/', '/s/', '/secretsecret/', `/${'s'.repeat(10_000)}/`, '/Secret/'])
    assert.ok(asked(url), url)
})

function refuse(item: string): never {
  throw new TypeError(`cannot take ${item}`)
}

/** The events that a page gets. */
class EventStream implements AsyncDisposable {
  readonly #response: IncomingMessage
  readonly #events: AsyncGenerator<{ name: string; data: unknown }>

  private constructor(response: IncomingMessage) {
    this.#response = response
    this.#events = eventsOf(response)
  }

  static async open(address: string): Promise<EventStream> {
    const sent = request(address, { agent: false })
    sent.end()
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    assert.equal(response.statusCode, 200)
    return new EventStream(response)
  }

  /** The next event of that name. */
  async next(name: string): Promise<unknown> {
    for (;;) {
      const { value, done } = await this.#events.next()
      if (done === true) throw new Error(`The stream ended before "${name}"`)
      if (value.name === name) return value.data
    }
  }

  async until(isIt: (update: UpdateMessage) => boolean): Promise<UpdateMessage> {
    for (;;) {
      const update = (await this.next('update')) as UpdateMessage
      if (isIt(update)) return update
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#response.closed) return
    this.#response.destroy()
    this.#response.on('error', () => {})
    await once(this.#response, 'close')
  }
}

async function* eventsOf(response: IncomingMessage): AsyncGenerator<{ name: string; data: unknown }> {
  let text = ''
  for await (const piece of response) {
    text += String(piece)
    const events = text.split('\n\n')
    text = events.pop()!
    for (const event of events) {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? []
      if (name !== undefined) yield { name, data: JSON.parse(data!) as unknown }
    }
  }
}
