/**
 * The web server of a dashboard: the page, and a stream of events for each that is open. Invariant: it listens on
 * loopback alone, answers nobody without the token, and a page that does not read costs a bounded amount of memory.
 */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ProcessError } from '../errors.ts'
import type { ProgramsMessage, UpdateMessage } from './live-messages.ts'
import { pageFile } from './page-files.ts'
import { SECURITY_HEADERS, newToken, refusal } from './request-guard.ts'
import type { WatchedPrograms } from './watched-programs.ts'

const viewersMax = 16
const connectionsMax = 64
/** A page that has not taken so much misses updates, and gets the whole history when it has. */
const bufferedBytesMax = 2 << 20
/** So that a proxy or a browser notices a server that is gone without a word. */
const pingEveryMs = 15_000

/** A page that is open. */
interface Viewer {
  response: ServerResponse
  /** The program that it shows. */
  id: string | null
  isBehind: boolean
}

export interface DashboardServerOptions {
  /** Default: any that is free. */
  port?: number | undefined
  /** Whether the server alone keeps the process alive. */
  keepsAlive: boolean
}

export class DashboardServer {
  readonly #server: Server
  readonly #token = newToken()
  readonly #programs: WatchedPrograms
  readonly #viewers = new Set<Viewer>()
  readonly #pings: NodeJS.Timeout
  #port = 0

  private constructor(programs: WatchedPrograms, { keepsAlive }: DashboardServerOptions) {
    this.#programs = programs
    programs.listener = {
      onPrograms: () => this.#tellPrograms(),
      onUpdate: (id, update) => this.#tellUpdate(id, update),
    }
    this.#server = createServer(
      { requestTimeout: 10_000, headersTimeout: 5000, maxHeaderSize: 16 * 1024, keepAliveTimeout: 5000 },
      (request, response) => void this.#answer(request, response),
    )
    this.#server.maxConnections = connectionsMax
    this.#pings = setInterval(() => this.#ping(), pingEveryMs).unref()
    if (keepsAlive) return
    this.#server.unref()
    this.#server.on('connection', socket => socket.unref())
  }

  /**
   * Listens.
   *
   * @throws ProcessError `ERR_NOT_SUPPORTED` when the port cannot be used
   */
  static async open(programs: WatchedPrograms, options: DashboardServerOptions): Promise<DashboardServer> {
    const dashboard = new DashboardServer(programs, options)
    await dashboard.#listen(options.port ?? 0)
    return dashboard
  }

  /** What the user opens. Whoever knows it can read the dashboard. */
  get address(): string {
    return `http://127.0.0.1:${this.#port}/${this.#token}/`
  }

  /** Pages that are open. */
  get viewers(): number {
    return this.#viewers.size
  }

  /** Pages are told that nothing comes any more. */
  async close(): Promise<void> {
    clearInterval(this.#pings)
    for (const { response } of this.#viewers) response.end('event: end\ndata: {}\n\n')
    const closed = new Promise(resolve => this.#server.close(resolve))
    this.#server.closeIdleConnections()
    // A page that does not take its last bytes is not waited for.
    const timer = setTimeout(() => this.#server.closeAllConnections(), 500).unref()
    await closed
    clearTimeout(timer)
  }

  #listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const failed = (cause: NodeJS.ErrnoException): void => {
        clearInterval(this.#pings)
        reject(
          new ProcessError(
            'ERR_NOT_SUPPORTED',
            `Cannot open the dashboard on port ${port} of 127.0.0.1: ${cause.code === 'EADDRINUSE' ? 'another program uses it' : cause.message}\nTo fix: choose another port, or none for any that is free`,
            { cause },
          ),
        )
      }
      this.#server.once('error', failed)
      this.#server.listen(port, '127.0.0.1', () => {
        this.#server.removeListener('error', failed)
        this.#server.on('error', () => {})
        this.#port = (this.#server.address() as AddressInfo).port
        resolve()
      })
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => response.destroy())
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value)
    const refused = refusal(request, { token: this.#token, port: this.#port })
    if (refused) {
      refuse(response, refused)
      return
    }
    // As it is written: to resolve ".." would make another path of one that has passed the guard.
    const [path = '/', query = ''] = (request.url ?? '/').split('?')
    const name = path.slice(this.#token.length + 2)
    if (path === `/${this.#token}`) {
      response.writeHead(308, { location: `/${this.#token}/` }).end()
    } else if (name === 'live') {
      this.#stream(response, new URLSearchParams(query).get('program'))
    } else {
      const file = await pageFile(name === '' ? 'index.html' : name)
      if (!file) refuse(response, { status: 404, why: 'There is no such file' })
      else response.writeHead(200, { 'content-type': file.type }).end(file.content)
    }
  }

  #stream(response: ServerResponse, wanted: string | null): void {
    if (this.#viewers.size >= viewersMax) {
      refuse(response, { status: 503, why: `More than ${viewersMax} pages are open` })
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    const viewer: Viewer = { response, id: this.#choose(wanted), isBehind: false }
    this.#viewers.add(viewer)
    response.once('close', () => this.#viewers.delete(viewer))
    send(viewer, 'programs', this.#programsFor(viewer))
    this.#sendAll(viewer)
  }

  #programsFor({ id }: Viewer): ProgramsMessage {
    return { programs: this.#programs.briefs, shown: id }
  }

  /** What a page is to show: what it asks for, or the newest that runs. */
  #choose(wanted: string | null): string | null {
    const { briefs } = this.#programs
    if (briefs.some(({ id }) => id === wanted)) return wanted
    return (briefs.findLast(({ state }) => state !== 'ended') ?? briefs.at(-1))?.id ?? null
  }

  #sendAll(viewer: Viewer): void {
    const view = viewer.id === null ? undefined : this.#programs.viewOf(viewer.id)
    if (!view) return
    viewer.isBehind = false
    send(viewer, 'history', view.history)
    // What is new in it is in the history already.
    if (view.latest) send(viewer, 'update', { ...view.latest, point: null, spans: [], failures: [] })
  }

  #tellPrograms(): void {
    for (const viewer of this.#viewers) {
      const isNew = viewer.id === null
      if (isNew) viewer.id = this.#choose(null)
      send(viewer, 'programs', this.#programsFor(viewer))
      if (isNew) this.#sendAll(viewer)
    }
  }

  #tellUpdate(id: string, update: UpdateMessage): void {
    let text: string | undefined
    for (const viewer of this.#viewers) {
      if (viewer.id !== id) continue
      if (viewer.response.writableLength > bufferedBytesMax) viewer.isBehind = true
      else if (viewer.isBehind) this.#sendAll(viewer)
      else viewer.response.write((text ??= eventText('update', update)))
    }
  }

  #ping(): void {
    for (const { response } of this.#viewers) {
      if (response.writableLength <= bufferedBytesMax) response.write(': ping\n\n')
    }
  }
}

function send({ response }: Viewer, event: string, data: object): void {
  response.write(eventText(event, data))
}

function eventText(event: string, data: object): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}

function refuse(response: ServerResponse, { status, why }: { status: number; why: string }): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${why}\n`)
}
