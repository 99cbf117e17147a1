/** This thread's connections to managers: one for each, made when the first proxy of it arrives. */
import type { ParsedAddress } from '../connection/address.ts'
import { connectSocket } from '../connection/connect-socket.ts'
import { getAuthKey } from '../process/process-state.ts'
import { introduceClient } from './introduction.ts'
import type { ManagerConnection } from './local-connection.ts'
import { ManagerLink } from './manager-link.ts'
import type { Credentials, ManagerPlace } from './manager-place.ts'
import type { Welcome } from './protocol.ts'

/** A server in this thread. */
export interface LocalServer {
  place: ManagerPlace
  connect(): ManagerConnection
  /** What a proxy here keeps, so that its object stays. */
  hold(id: number): object | undefined
}

/** By the name of the server. A link that has ended is not here any more. */
const links = new Map<string, ManagerLink>()
/** Servers in this thread, by name: how each is reached from here. */
const localServers = new Map<string, LocalServer>()
/** Of managers that this thread has started, by the name of their server: how it ended. */
const endStories = new Map<string, () => Promise<string | undefined>>()

/** The link to a manager: the first use connects. */
export function linkTo(place: ManagerPlace, credentials: Credentials | undefined): ManagerLink {
  const existing = links.get(place.server)
  if (existing !== undefined) return existing
  const local = localServers.get(place.server)
  const link = local === undefined ? newLink(place, credentials) : newLocalLink(local)
  links.set(place.server, link)
  return link
}

/**
 * Connects to whatever manager is at the address.
 *
 * @throws ProcessError `ERR_NOT_FOUND` when there is none; AuthenticationError.
 */
export async function connectLink(
  address: ParsedAddress,
  credentials: Credentials | undefined,
): Promise<ManagerLink> {
  const link = newLink({ address, server: '' }, credentials)
  const { server } = await link.welcomed()
  const existing = links.get(server)
  if (existing === undefined) {
    links.set(server, link)
    return link
  }
  link.close()
  return existing
}

/** Has a server in this thread be reached without a socket, until the function that is returned is called. */
export function addLocalServer(local: LocalServer): () => void {
  const { server } = local.place
  localServers.set(server, local)
  return () => localServers.delete(server)
}

/** The object of a server in this thread. */
export function holdHere({ server }: ManagerPlace, id: number): object | undefined {
  return localServers.get(server)?.hold(id)
}

/** What is told, beside that a manager has ended, to those who wait for it. */
export function tellEndOf(server: string, story: () => Promise<string | undefined>): void {
  endStories.set(server, story)
}

function newLink(place: ManagerPlace, given: Credentials | undefined): ManagerLink {
  const { authKey, tls } = given ?? { authKey: getAuthKey(), tls: undefined }
  const connect = async (): ReturnType<typeof introduceClient> =>
    introduceClient(await connectSocket(place.address, { authKey, tls }))
  return new ManagerLink({ place, credentialsToShare: given, connect, ended })
}

function newLocalLink({ place, connect }: LocalServer): ManagerLink {
  const { server } = place
  const welcome: Welcome = { server, pid: process.pid, rings: undefined, refusal: undefined }
  const connectHere = (): ReturnType<typeof introduceClient> =>
    Promise.resolve({ connection: connect(), welcome })
  return new ManagerLink({ place, credentialsToShare: undefined, connect: connectHere, ended })
}

async function ended(link: ManagerLink): Promise<string | undefined> {
  const { server } = link.place
  if (links.get(server) === link) links.delete(server)
  const story = endStories.get(server)
  endStories.delete(server)
  return await story?.()
}
