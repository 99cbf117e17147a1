/**
 * One port, served by three processes. The program listens and gives its server to the children, which accept; the
 * system hands each connection to one of them. A child that is killed is replaced, and no client is refused meanwhile.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { Process } from 'multiproc'

function serve(server: Server, name: string): Promise<void> {
  server.on('connection', socket => {
    socket.on('error', () => {})
    socket.end(`${name} says hello`)
  })
  return new Promise(() => {})
}

function start(name: string): Process {
  const child = new Process({ name, target: serve, args: [server, name] })
  child.start()
  return child
}

async function ask(port: number): Promise<string> {
  let answer = ''
  for await (const chunk of connect(port, '127.0.0.1')) answer += String(chunk)
  return answer
}

const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo

const children = ['first', 'second', 'third'].map(start)
// Once each of them has answered, all of them accept.
const answers = new Set<string>()
while (answers.size < children.length) answers.add(await ask(port))
console.log([...answers].sort().join('\n'))

children[0]!.kill()
await children[0]!.join()
children[0] = start('replacement')
while (!answers.has('replacement says hello')) answers.add(await ask(port))
console.log('replacement says hello')

server.close()
for (const child of children) child.kill()
for (const child of children) await child.join()
