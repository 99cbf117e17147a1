/** An operator of NATS with one account and one user in it, as `nsc` makes them: what `.creds` files are of. */
import { createHash } from 'node:crypto'
import { nkeys } from '@nats-io/transport-node'

type KeyPair = ReturnType<typeof nkeys.createUser>

export interface NatsOperator {
  /** What the server is told. */
  configuration: string
  /** The text of the file of the user. */
  credentials: string
  /** The same account, with another user in place of this one, who is revoked. */
  renewed(): NatsOperator
}

const unlimited = -1

export function newOperator(): NatsOperator {
  const operator = nkeys.createOperator()
  const system = nkeys.createAccount()
  const account = nkeys.createAccount()
  return withNewUser({ operator, system, account })
}

interface Keys {
  operator: KeyPair
  system: KeyPair
  account: KeyPair
}

function withNewUser(keys: Keys, revocations: Readonly<Record<string, number>> = {}): NatsOperator {
  const { operator, system, account } = keys
  const user = nkeys.createUser()
  const limits = {
    subs: unlimited,
    data: unlimited,
    payload: unlimited,
    imports: unlimited,
    exports: unlimited,
    wildcards: true,
    conn: unlimited,
    leaf: unlimited,
  }
  const storage = { mem_storage: unlimited, disk_storage: unlimited, streams: unlimited, consumer: unlimited }
  const accounts = [
    [system, limits],
    [account, { ...limits, ...storage }],
  ] as const
  const preload = accounts.map(([pair, ownLimits]) => {
    const token = jwt(operator, pair, { type: 'account', version: 2, limits: ownLimits, revocations })
    return `${pair.getPublicKey()}: ${token}`
  })
  const userJwt = jwt(account, user, {
    type: 'user',
    version: 2,
    subs: unlimited,
    data: unlimited,
    payload: unlimited,
  })
  return {
    configuration: [
      `operator: ${jwt(operator, operator, { type: 'operator', version: 2 })}`,
      `system_account: ${system.getPublicKey()}`,
      'resolver: MEMORY',
      `resolver_preload: { ${preload.join(', ')} }`,
    ].join('\n'),
    credentials: [
      '-----BEGIN NATS USER JWT-----',
      userJwt,
      '------END NATS USER JWT------',
      '',
      '-----BEGIN USER NKEY SEED-----',
      Buffer.from(user.getSeed()).toString('latin1'),
      '------END USER NKEY SEED------',
      '',
    ].join('\n'),
    // What was issued until now.
    renewed: () => withNewUser(keys, { [user.getPublicKey()]: Math.floor(Date.now() / 1000) }),
  }
}

function jwt(issuer: KeyPair, subject: KeyPair, nats: object): string {
  const claims = {
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.getPublicKey(),
    name: 'test',
    sub: subject.getPublicKey(),
    nats,
  }
  const id = createHash('sha512-256').update(JSON.stringify(claims)).digest('hex')
  const parts = [
    { typ: 'JWT', alg: 'ed25519-nkey' },
    { jti: id, ...claims },
  ]
  const text = parts.map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  const signature = Buffer.from(issuer.sign(Buffer.from(text))).toString('base64url')
  return `${text}.${signature}`
}
