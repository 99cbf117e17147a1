/**
 * A manager that other machines can use: over TLS, and with a key that both sides have. The second process stands for
 * the other machine; it shares nothing with the first but address, key and certificate.
 */
import { readFileSync } from 'node:fs'
import { Process, SyncManager } from 'multiproc'

const certificates = new URL('../../test/fixtures/tls/', import.meta.url)
const cert = readFileSync(new URL('server-cert.pem', certificates), 'utf8')
const key = readFileSync(new URL('server-key.pem', certificates), 'utf8')
const authKey = 'a secret of both programs'

const manager = new SyncManager({ address: ['localhost', 0], authKey, tls: { key, cert } })
const server = manager.getServer()
await server.listen()

const { address } = server
const elsewhere = new Process({
  target: async () => {
    const remote = new SyncManager({ address, authKey, tls: { ca: cert } })
    await remote.connect()
    const list = await remote.list(['from', 'there'])
    await list.append('over TLS')
    console.log(await list.copy())
    const stranger = new SyncManager({ address, authKey: 'a guess', tls: { ca: cert } })
    await stranger.connect().catch((error: Error) => console.log(error.name))
  },
})
elsewhere.start()
await elsewhere.join()
await server.shutdown()
