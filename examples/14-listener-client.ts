/**
 * A server and its clients, as separate programs would have them: the server listens with a key, and each client shows
 * that it knows it. One that does not is refused, and the server goes on.
 */
import { Client, Listener, Process } from 'multiproc'

const authKey = 'correct horse battery staple'

async function client(address: string | [string, number], text: string, authKey: string): Promise<void> {
  try {
    using connection = await Client(address, { authKey })
    await connection.send(text)
    console.log(await connection.recv())
  } catch (error) {
    console.log(`${text}: ${(error as Error).name}`)
  }
}

const listener = new Listener<string>(['localhost', 0], { authKey })
const address = await listener.listening()

async function serve(): Promise<void> {
  for await (const connection of listener) {
    const text = await connection.recv()
    await connection.send(text.toUpperCase())
    connection.close()
  }
}
const serving = serve()

for (const [text, key] of [
  ['hello', authKey],
  ['a stranger', 'a guess'],
  ['goodbye', authKey],
] as const) {
  const child = new Process({ target: client, args: [address, text, key] })
  child.start()
  await child.join()
}
listener.close()
await serving
