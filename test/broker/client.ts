/** Clients of this process's broker that say what a test has them say. */
import { once } from 'node:events'
import { type Socket, connect } from 'node:net'
import { brokerServes, homeAddress } from '#src/broker/home.js'
import { type FromHome, type ToHome, encodeHello } from '#src/broker/protocol.js'
import { decode, encode } from '#src/serialize/codec.js'
import { SocketConnection } from '#src/transport/socket-connection.js'

export async function endOf(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise(resolve => socket.once('close', resolve))
}

export interface Client {
  socket: Socket
  connection: SocketConnection
  /** The first frame that comes through it; `undefined` when it ends before. */
  answer: Promise<FromHome | undefined>
  say(message: ToHome): void
  /** Calls an operation of an object. Its number is `call`. */
  call(call: number, object: number, operation: string, ...args: unknown[]): Promise<FromHome>
  /** Until everything that was said has been dealt with. */
  isDone(): Promise<void>
}

/** A connection that has said hello as a client does. */
export async function client(): Promise<Client> {
  await brokerServes()
  const address = homeAddress()
  const socket = connect(address.path)
  await once(socket, 'connect')
  const connection = new SocketConnection(socket)
  const answers = new Map<number, (answer: FromHome) => void>()
  const answer = new Promise<FromHome | undefined>(resolve => {
    connection.onMessage = frame => {
      const message = decode(frame) as FromHome
      resolve(message)
      if (message.kind !== 'refused') answers.get(message.call)?.(message)
    }
    connection.onClose = () => resolve(undefined)
  })
  connection.send(encodeHello(address, 2 ** 31))
  const say = (message: ToHome): void => connection.send(encode(message))
  const answerTo = (call: number): Promise<FromHome> => new Promise(resolve => answers.set(call, resolve))
  let pings = 0
  return {
    socket,
    connection,
    answer,
    say,
    call(call, object, operation, ...args) {
      say({ kind: 'call', call, object, operation, args })
      return answerTo(call)
    },
    async isDone() {
      const call = --pings
      say({ kind: 'ping', call })
      await answerTo(call)
    },
  }
}
