/** Agents that do not have the modules of a program get them as files, and run nothing that the program has not sent. */
import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { Pool } from 'multiproc'
import { privateFolder } from '#src/platform/private-folder.js'
import { OwnTemporaryDirectory } from '../dashboard/inspected-program.js'
import { checkLeaks } from '../leak-check.js'
import { POOL, TestCluster, connectAsStranger, needsServer } from './started-server.js'

checkLeaks()

/** What programs import of their bundles. */
interface Tasks {
  Price: new (amount: number) => { amount: number; taxed(): number }
  taxed(price: InstanceType<Tasks['Price']>): InstanceType<Tasks['Price']>
  where(): string
  count(): number
}

/** A module with what does not travel by value: state, and its own URL. */
function source(rate: number): string {
  return `
    import { basename } from 'node:path'
    let calls = 0
    export class Price {
      constructor(amount) { this.amount = amount }
      taxed() { return this.amount * ${rate} }
    }
    export const taxed = price => new Price(price.taxed())
    export function where() { return basename(import.meta.url) }
    export function count() { return ++calls }
  `
}

let modules = 0

/** Writes such a module and imports it. `?` keeps what was imported before from being taken for it. */
async function written(cluster: TestCluster, rate: number): Promise<{ file: string; tasks: Tasks }> {
  const file = join(cluster.folder, `tasks-${++modules}.mjs`)
  writeFileSync(file, source(rate))
  return { file, tasks: (await import(pathToFileURL(file).href)) as Tasks }
}

function kept(): string[] {
  return readdirSync(privateFolder('multiproc-bundles', { isMade: true })!)
}

describe('the option bundle', needsServer, () => {
  test('gives agents a module that they do not have, and its classes are those of the program', async () => {
    using _ = new OwnTemporaryDirectory()
    await using cluster = await TestCluster.start()
    await cluster.agent({ processes: 1 })
    const { file, tasks } = await written(cluster, 2)
    const pool = cluster.pool({ bundle: file })
    // This machine is the agent's, too: it has the module itself, and does not take it.
    const [name] = await pool.map(tasks.where, [undefined])
    assert.match(name!, /^[0-9a-f]{64}\.mjs$/)
    assert.deepEqual(kept(), [name])
    assert.deepEqual(await pool.map(tasks.count, [undefined, undefined]), [1, 2])
    const price = await pool.apply(tasks.taxed, [new tasks.Price(21)])
    assert.ok(price instanceof tasks.Price)
    assert.equal(price.amount, 42)
    const { Price } = tasks
    assert.equal(await pool.apply((amount: number) => new Price(amount).taxed(), [4]), 8)
  })

  test('of two versions each gets its own, also in one worker, and a new agent finds what is kept', async () => {
    using _ = new OwnTemporaryDirectory()
    await using cluster = await TestCluster.start()
    const agent = await cluster.agent({ processes: 1 })
    const [one, other] = [await written(cluster, 2), await written(cluster, 3)]
    const pools = [one, other].map(({ file }) => cluster.pool({ bundle: file }))
    const taxes = async (): Promise<unknown[]> =>
      await Promise.all(
        [one, other].map(async ({ tasks }, at) => {
          const price = await pools[at]!.apply(tasks.taxed, [new tasks.Price(10)])
          return price.amount
        }),
      )
    assert.deepEqual(await taxes(), [20, 30])
    assert.equal(kept().length, 2)
    await agent.stop()
    await cluster.agent({ processes: 1 })
    assert.deepEqual(await taxes(), [20, 30])
  })

  test('what somebody without the key has put in its place is not run, on the server and on the disk', async () => {
    using _ = new OwnTemporaryDirectory()
    await using cluster = await TestCluster.start()
    const { file, tasks } = await written(cluster, 2)
    const pool = cluster.pool({ bundle: file })
    const first = pool.map(tasks.where, [undefined])
    const stranger = await connectAsStranger(cluster)
    const manager = await jetstreamManager(stranger)
    const stored = async (): Promise<string[]> => {
      const query = { subjects_filter: `mp.p.${POOL}.>` }
      const info = await manager.streams.info(`MP_P_${POOL}`, query).catch(() => undefined)
      return Object.keys(info?.state.subjects ?? {})
    }
    while ((await stored()).length === 0);
    const [subject] = await stored()
    const evil = 'export const where = () => "evil"\nexport const count = () => -1\n'
    await jetstream(stranger).publish(subject!, evil)
    const agent = await cluster.agent({ processes: 1 })
    const [name] = await first
    assert.match(name!, /^[0-9a-f]{64}\.mjs$/)
    await agent.stop()
    // Of a user who shares its account.
    writeFileSync(join(privateFolder('multiproc-bundles', { isMade: true })!, name!), evil)
    await cluster.agent({ processes: 1 })
    assert.equal(await pool.apply(tasks.count), 1)
    await stranger.close()
  })

  test('goes along with a job to whoever attaches', async () => {
    using _ = new OwnTemporaryDirectory()
    await using cluster = await TestCluster.start()
    const { file, tasks } = await written(cluster, 2)
    const pool = cluster.pool({ bundle: file })
    const abandoned = pool.map(tasks.where, Array.from({ length: 30 }), { jobId: 'bundled' })
    abandoned.catch(() => {})
    const stranger = await connectAsStranger(cluster)
    const manager = await jetstreamManager(stranger)
    const isQueued = async (): Promise<boolean> => {
      const info = await manager.streams.info(`MP_T_${POOL}`).catch(() => undefined)
      return (info?.state.messages ?? 0) > 0
    }
    while (!(await isQueued()));
    await stranger.close()
    await pool.terminate()
    await cluster.agent()
    const names = await Pool.attach<string[]>('bundled', { cluster: cluster.options, name: POOL })
    assert.equal(names.length, 30)
    for (const name of names) assert.match(name, /^[0-9a-f]{64}\.mjs$/)
  })

  test('at most a hundred are kept on a machine', async () => {
    using _ = new OwnTemporaryDirectory()
    await using cluster = await TestCluster.start()
    await cluster.agent({ processes: 1 })
    const folder = privateFolder('multiproc-bundles', { isMade: true })!
    for (let count = 0; count < 120; count++) writeFileSync(join(folder, `${count}.new`), '')
    const { file, tasks } = await written(cluster, 2)
    assert.match((await cluster.pool({ bundle: file }).map(tasks.where, [undefined]))[0]!, /mjs$/)
    assert.equal(kept().length, 100)
  })

  test('that makes no sense is refused with what to do', () => {
    const cluster = { servers: 'nats://127.0.0.1:1', authKey: 'k'.repeat(32) }
    const name = 'p'
    assert.throws(() => new Pool({ cluster, name, bundle: './tasks.ts' }), /esbuild/)
    assert.throws(() => new Pool({ cluster, name, bundle: './nowhere.mjs' }), { code: 'ERR_NOT_FOUND' })
    assert.throws(() => new Pool({ cluster, name, bundle: Array.from({ length: 9 }, () => 'a.mjs') }), {
      code: 'ERR_INVALID_ARGUMENT',
    })
    assert.throws(() => new Pool({ bundle: './tasks.mjs' }), { code: 'ERR_NOT_SUPPORTED' })
  })
})
