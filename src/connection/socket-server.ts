/**
 * Listens, and gives out sockets whose other side has shown that it knows the key. A peer that is slow, lies, or says
 * nothing costs one place among those that are in the handshake, for a limited time, and never stops the others.
 */
import { existsSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import type { TlsOptions } from 'node:tls'
import {
  AuthenticationError,
  ClosedError,
  ProcessError,
  TimeoutError,
  invalidArgument,
  invalidState,
} from '../errors.ts'
import { LongTimer } from '../platform/long-timer.ts'
import {
  forgetSocketFile,
  isSocketFile,
  noteSocketFile,
  replaceStaleSocket,
} from '../platform/socket-path.ts'
import {
  type Address,
  type ParsedAddress,
  addressText,
  assertUsable,
  isOfThisMachine,
  parseAddress,
} from './address.ts'
import { tuneSocket } from './connect-socket.ts'
import { HandshakeStream, closeGently, endedInHandshake } from './handshake-stream.ts'
import { authenticateClient } from './handshake.ts'
import { tlsModule, tlsSettings } from './tls-settings.ts'

/** What a server allows those who have not shown a key yet. */
export interface HandshakeLimits {
  /** From the connection to the end of the handshake. With TLS, its own handshake may take as long. */
  handshakeMs: number
  /** Peers that are in the handshake at a time. One more, and the one that takes longest is cut off. */
  pendingMax: number
}

/** As many as a crowd of clients that start together, and few enough for the descriptors of a process. */
export const HANDSHAKE_LIMITS: HandshakeLimits = Object.freeze({ handshakeMs: 10_000, pendingMax: 512 })

/** What the system keeps of those who have connected while this thread was busy. As Node.js has it. */
const SYSTEM_BACKLOG = 511

export interface SocketServerOptions {
  /** Without it, everybody who can connect is let in. */
  authKey?: Uint8Array | undefined
  tls?: TlsOptions | undefined
  limits?: Partial<HandshakeLimits> | undefined
  /** Allows an address that other machines can reach, without a key and without certificates of clients. */
  insecure?: boolean | undefined
  /**
   * Gets a socket that has passed the handshake. It is not being read from, and whatever came behind the handshake is in
   * it: who listens to its event "data", in this turn or later, gets every byte.
   */
  onSocket(socket: Socket, peer: string): void
  /** Is told of every peer that was not let in, and why. */
  onRefused?: ((error: Error, peer: string) => void) | undefined
}

/** A peer that is not let in yet. */
interface Pending {
  readonly socket: Socket
  readonly peer: string
  /** It gets no further. */
  fail(error: Error): void
  /** It has passed, or goes on in another place. False when it was cut off before. */
  pass(): boolean
}

export class SocketServer {
  readonly #options: SocketServerOptions
  readonly #limits: HandshakeLimits
  readonly #asked: ParsedAddress
  readonly #server: Server
  readonly #isTls: boolean
  /** In the order of their arrival. */
  readonly #pending = new Set<Pending>()
  /** Peers over TLS by host and port, because after its handshake their socket is another one. Until they close it. */
  readonly #inTls = new Map<string, Pending>()
  readonly #listening: Promise<void>
  #bound: ParsedAddress | undefined
  /** Refused peers that are being told so. */
  readonly #leaving = new Set<Socket>()
  #isClosed = false
  #isReffed = true
  /** Ends the attempt to listen that is in progress. */
  #settle: ((error?: Error) => void) | undefined

  /**
   * Begins to listen.
   *
   * @throws TypeError or RangeError for an address or options that make no sense, and for an address that other machines
   * can reach without anything that keeps strangers out; ProcessError `ERR_NOT_SUPPORTED` for a kind of address that
   * this system does not have.
   */
  constructor(address: Address | ParsedAddress, options: SocketServerOptions) {
    this.#options = options
    this.#limits = { ...HANDSHAKE_LIMITS, ...options.limits }
    this.#asked = parseAddress(address)
    assertUsable(this.#asked, undefined)
    const tls = tlsSettings(this.#asked, options.tls)
    assertGuarded(this.#asked, tls, options)
    this.#isTls = tls !== undefined
    this.#server = tls === undefined ? createServer() : this.#tlsServer(tls)
    this.#server.on('connection', socket => this.#arrived(socket))
    this.#server.on('listening', () => this.#isBound())
    this.#server.on('error', error => this.#failed(error))
    this.#listening = this.#listen()
    // Who does not ask whether it listens is told by the first call that needs it.
    this.#listening.catch(() => {})
  }

  #tlsServer(tls: TlsOptions): Server {
    // The time that the handshake takes is watched here, since it belongs to the whole.
    const server = tlsModule().createServer({ ...tls, handshakeTimeout: 2 * this.#limits.handshakeMs })
    server.on('secureConnection', socket => this.#secured(socket))
    server.on('tlsClientError', (error, socket) => {
      const failed = new AuthenticationError(
        `The other side of the connection was refused: its TLS handshake failed (${error.message})\n` +
          'To fix: see that it uses "tls" too, and that each side trusts the certificate of the other',
        { reason: 'its TLS handshake failed', cause: error },
      )
      // Without an entry it was cut off, and this is what TLS makes of that.
      this.#inTls.get(peerKey(socket))?.fail(failed)
    })
    return server
  }

  /** Resolves when it listens; rejects with `ERR_ALREADY_EXISTS` and others when it cannot. */
  listening(): Promise<void> {
    return this.#listening
  }

  /**
   * Where it listens, with the port that the system chose.
   *
   * @throws ProcessError `ERR_INVALID_STATE` as long as that is not known: only for port 0, before `listening()`.
   */
  get address(): ParsedAddress {
    if (this.#bound !== undefined) return this.#bound
    if (this.#asked.family !== 'AF_INET' || this.#asked.port !== 0) return this.#asked
    throw invalidState(
      'The port of the listener is not known yet: the system has not chosen it\nTo fix: await listening() first',
    )
  }

  get isListening(): boolean {
    return this.#bound !== undefined && !this.#isClosed
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** How many peers are in the handshake. */
  get pendingCount(): number {
    return this.#pending.size
  }

  async #listen(): Promise<void> {
    const address = this.#asked
    try {
      await this.#tryToListen()
    } catch (problem) {
      let error = problem as NodeJS.ErrnoException
      if (error.code === 'EADDRINUSE' && address.family === 'AF_UNIX') {
        try {
          if (await replaceStaleSocket(address.path, () => this.#tryToListen())) return
        } catch (again) {
          error = again as NodeJS.ErrnoException
        }
      }
      throw this.#isClosed ? closedBefore() : listenError(address, error)
    }
  }

  #tryToListen(): Promise<void> {
    const address = this.#asked
    if (this.#isClosed) return Promise.reject(closedBefore())
    return new Promise((resolve, reject) => {
      this.#settle = error => {
        this.#settle = undefined
        if (error === undefined) resolve()
        else reject(error)
      }
      const where =
        address.family === 'AF_INET' ? { host: address.host, port: address.port } : { path: address.path }
      // Exclusive: in a worker of node:cluster the primary process would listen in its own name.
      this.#server.listen({ ...where, exclusive: true, backlog: SYSTEM_BACKLOG })
    })
  }

  #isBound(): void {
    // Closed while the name of the host was looked up.
    if (this.#isClosed) {
      this.#server.close()
      return
    }
    const asked = this.#asked
    if (asked.family === 'AF_INET') {
      // The host stays as it was given, because certificates are for names.
      this.#bound = { ...asked, port: (this.#server.address() as AddressInfo).port }
    } else {
      this.#bound = asked
      noteSocketFile(asked.path)
    }
    this.#settle?.()
  }

  #failed(error: Error): void {
    // One that listens goes on after the error of an accept: no descriptor was left, for instance.
    if (this.#settle === undefined) this.#tell(error, 'unknown')
    else this.#settle(error)
  }

  /** In a step of its own: what it throws is an uncaught error of the program, and changes nothing here. */
  #tell(error: Error, peer: string): void {
    const { onRefused } = this.#options
    if (onRefused !== undefined) queueMicrotask(() => onRefused(error, peer))
  }

  #arrived(socket: Socket): void {
    const peer = peerOf(socket)
    if (!this.#isTls && this.#options.authKey === undefined) {
      this.#letIn(socket, peer)
      return
    }
    if (this.#isTls) {
      const key = peerKey(socket)
      const pending = this.#begin(socket, peer, () => socket.destroy())
      this.#inTls.set(key, pending)
      // TLS reads from the socket itself: that it ended is all that is learnt here.
      socket.once('close', () => {
        if (this.#inTls.get(key) === pending) this.#inTls.delete(key)
        pending.fail(endedInHandshake())
      })
    } else void this.#authenticate(socket, peer)
  }

  #secured(socket: Socket): void {
    const peer = peerOf(socket)
    // It was cut off at this moment.
    if (this.#inTls.get(peerKey(socket))?.pass() !== true) {
      socket.on('error', () => {}).destroy()
      return
    }
    if (this.#options.authKey === undefined) this.#letIn(socket, peer)
    else void this.#authenticate(socket, peer)
  }

  /** Gives a peer a place, for a limited time. */
  #begin(socket: Socket, peer: string, stop: (error: Error) => void): Pending {
    const { handshakeMs, pendingMax } = this.#limits
    const timer = new LongTimer(() => pending.fail(tooSlow(handshakeMs)), handshakeMs)
    const pending: Pending = {
      socket,
      peer,
      fail: error => {
        if (!pending.pass()) return
        stop(error)
        if (!this.#isClosed) this.#tell(error, peer)
      },
      pass: () => {
        timer.stop()
        return this.#pending.delete(pending)
      },
    }
    this.#pending.add(pending)
    if (!this.#isReffed) socket.unref()
    if (this.#pending.size > pendingMax) {
      // Who means well is through in a moment, so the oldest one does not. To refuse the new one would let a few peers
      // that say nothing keep everybody out.
      const [oldest] = this.#pending
      oldest!.fail(cutOff(pendingMax))
    }
    return pending
  }

  async #authenticate(socket: Socket, peer: string): Promise<void> {
    const stream = new HandshakeStream(socket)
    const pending = this.#begin(socket, peer, error => {
      if (error instanceof AuthenticationError) this.#sayFarewell(socket)
      else stream.fail(error)
    })
    try {
      await authenticateClient(stream, this.#options.authKey!)
    } catch (error) {
      stream.release()
      pending.fail(error as Error)
      return
    }
    stream.release()
    // Cut off while the last message was on its way.
    if (pending.pass()) this.#letIn(socket, peer)
  }

  /** The other side is told that it was refused, unless too many are being told. */
  #sayFarewell(socket: Socket): void {
    if (this.#leaving.size >= this.#limits.pendingMax) {
      socket.destroy()
      return
    }
    this.#leaving.add(socket)
    socket.once('close', () => this.#leaving.delete(socket))
    closeGently(socket)
  }

  #letIn(socket: Socket, peer: string): void {
    if (this.#isClosed) {
      socket.destroy()
      return
    }
    socket.ref()
    // An error before its next owner listens would end the program. The socket is destroyed then, which that one sees.
    socket.on('error', () => {})
    tuneSocket(socket, this.#asked)
    this.#options.onSocket(socket, peer)
  }

  /** Stops listening, and cuts off who is in the handshake. Sockets that were let in stay. Twice is fine. */
  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve()
    this.#isClosed = true
    for (const pending of this.#pending) pending.fail(closedBefore())
    for (const socket of this.#leaving) socket.destroy()
    // Its handle is closed at the call, so that the address is free; the event "close" would come with the last socket.
    this.#server.close(() => {})
    this.#settle?.(closedBefore())
    if (this.#asked.family === 'AF_UNIX') forgetSocketFile(this.#asked.path)
    return Promise.resolve()
  }

  /** Lets the server keep this process alive (the default). */
  ref(): void {
    this.#isReffed = true
    this.#server.ref()
    for (const { socket } of this.#pending) socket.ref()
  }

  /** Lets this process end while the server listens. */
  unref(): void {
    this.#isReffed = false
    this.#server.unref()
    for (const { socket } of this.#pending) socket.unref()
  }
}

/** Who connected, for people. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  if (remoteAddress === undefined) return 'a process of this machine'
  return addressText({
    family: 'AF_INET',
    host: remoteAddress.replace(/^::ffff:(?=\d+\.)/, ''),
    port: remotePort ?? 0,
    isTls: false,
  })
}

function peerKey({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

function assertGuarded(
  address: ParsedAddress,
  tls: TlsOptions | undefined,
  { authKey, insecure = false }: SocketServerOptions,
): void {
  const hasKey = authKey !== undefined && authKey.length > 0
  const hasCertificates = tls?.requestCert === true && tls.rejectUnauthorized !== false
  if (hasKey || hasCertificates || insecure || isOfThisMachine(address)) return
  throw invalidArgument(
    TypeError,
    `Cannot listen at ${addressText(address)} without a key: every machine that reaches it could run code here\n` +
      'To fix: pass { authKey }, or { tls: { requestCert: true, ... } }, or listen at "localhost"; { insecure: true } allows it',
  )
}

function listenError(address: ParsedAddress, cause: NodeJS.ErrnoException): ProcessError {
  const where = addressText(address)
  if (cause.code === 'EADDRINUSE') {
    return new ProcessError(
      'ERR_ALREADY_EXISTS',
      `Cannot listen at ${where}: ${address.family !== 'AF_INET' && isSocketFile(address.path) ? 'somebody listens there, or the file is no socket' : 'somebody listens there'}\n` +
        'To fix: use another address (port 0 has the system choose one), or end the other program',
      { cause },
    )
  }
  // For a directory that does not exist, libuv says EACCES.
  const hasDirectory = address.family !== 'AF_UNIX' || existsSync(dirname(address.path))
  const code = NO_SUCH_PLACE.has(cause.code ?? '') || !hasDirectory ? 'ERR_NOT_FOUND' : 'ERR_NOT_SUPPORTED'
  return new ProcessError(
    code,
    `Cannot listen at ${where}: ${cause.message}\nTo fix: use an address of this machine, and a path in a directory that exists and that you may write to`,
    { cause },
  )
}

const NO_SUCH_PLACE = new Set(['ENOENT', 'ENOTDIR', 'EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN'])

function closedBefore(): ClosedError {
  return new ClosedError('The listener is closed\nTo fix: make a new one')
}

function tooSlow(handshakeMs: number): TimeoutError {
  return new TimeoutError(
    `The other side of the connection was refused: its handshake was not finished after ${handshakeMs} ms\n` +
      'To fix: see that it has an "authKey", or allow more with "handshakeTimeout"',
  )
}

function cutOff(pendingMax: number): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `The other side of the connection was refused: more than ${pendingMax} were in the handshake, and this one for longest\n` +
      'To fix: allow more with "maxPending"',
  )
}
