/**
 * Which of several NATS servers is there: the first that says who it is, as a server does before it is asked anything.
 * The client is let at a server only then, because a socket to one that says nothing is left open by it (3.3.1), and
 * keeps the program alive. Invariant: no socket is left, and each that was tried has its reason.
 */
import { type Socket, createConnection } from 'node:net'

export interface Greeting {
  server: string
  /** It wants a certificate of whoever connects. */
  isCertificateWanted: boolean
}

const portDefault = 4222
/** A greeting has some hundred bytes, and more with many servers in one cluster. */
const greetingBytesMax = 256 * 1024

/** @throws Error that says of each server why it is not there. */
export async function firstGreeting(
  servers: readonly string[],
  { msMax }: { msMax: number },
): Promise<Greeting> {
  const sockets: Socket[] = []
  const late = setTimeout(() => {
    for (const socket of sockets) socket.destroy()
  }, msMax)
  try {
    return await Promise.any(
      servers.map(async server => {
        const { hostname, port } = new URL(server)
        const host = hostname.replace(/^\[|\]$/g, '')
        const socket = createConnection({ host, port: Number(port || portDefault) })
        sockets.push(socket)
        return await greeting(socket, server)
      }),
    )
  } catch (error) {
    const reasons = (error as AggregateError).errors.map(each => (each as Error).message)
    throw new Error(reasons.join('; '), { cause: error })
  } finally {
    clearTimeout(late)
    for (const socket of sockets) socket.destroy()
  }
}

async function greeting(socket: Socket, server: string): Promise<Greeting> {
  const { host } = new URL(server)
  let text = ''
  try {
    for await (const bytes of socket) {
      text += String(bytes)
      const json = /^INFO (\{.*\})\s*\r\n/.exec(text)?.[1]
      if (json !== undefined) {
        const { tls_verify: isVerified } = JSON.parse(json) as { tls_verify?: unknown }
        return { server, isCertificateWanted: isVerified === true }
      }
      if (!/^I(?:N|$)/.test(text) || text.length > greetingBytesMax) break
    }
  } catch (cause) {
    throw new Error(inWords(cause as NodeJS.ErrnoException, new URL(server)), { cause })
  }
  throw new Error(text === '' ? `${host} says nothing` : `${host} is no NATS server`)
}

function inWords({ code = '', message }: NodeJS.ErrnoException, { host, hostname }: URL): string {
  if (code === 'ECONNREFUSED') return `${host} refuses connections (${code})`
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the name ${hostname} is not known (${code})`
  if (code === 'ERR_STREAM_PREMATURE_CLOSE') return `${host} does not answer`
  return `${host}: ${message === '' ? code : message}`
}
