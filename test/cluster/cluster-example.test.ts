/** The example of a cluster prints what it says, and a program with an idle pool on a cluster ends. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { checkLeaks } from '../leak-check.js'
import { KEY, POOL, TestCluster, needsServer } from './started-server.js'

checkLeaks()

async function outputOf(cluster: TestCluster, args: readonly string[]): Promise<string> {
  const env = {
    ...process.env,
    MULTIPROC_CLUSTER: cluster.url,
    MULTIPROC_AUTH_KEY: KEY,
    MULTIPROC_POOL: POOL,
  }
  const cwd = fileURLToPath(new URL('../../../', import.meta.url))
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { env, cwd, timeout: 60_000 })
  assert.equal(stderr, '')
  return stdout
}

test('16: map() on a cluster gives the results in order', needsServer, async () => {
  await using cluster = await TestCluster.start()
  await cluster.agent()
  const example = fileURLToPath(new URL('../../examples/16-cluster.js', import.meta.url))
  assert.equal(await outputOf(cluster, [example]), '[ 100, 400, 900, 1000 ]\n')
})

test('17: tasks on a cluster write into one dict, and the program holds a lock', needsServer, async () => {
  await using cluster = await TestCluster.start()
  // Its processes find the key in their environment, as those of `multiproc worker` do.
  await cluster.agentProgram()
  const example = fileURLToPath(new URL('../../examples/17-shared-state.js', import.meta.url))
  assert.equal(await outputOf(cluster, [example]), '3 11\nfalse true\n')
})

test('a program that never closes its pool ends when it has nothing to wait for', needsServer, async () => {
  await using cluster = await TestCluster.start()
  await cluster.agent()
  const program = `
    import { Pool } from 'multiproc'
    const pool = new Pool({ cluster: process.env.MULTIPROC_CLUSTER, name: process.env.MULTIPROC_POOL })
    console.log(await pool.apply((a, b) => a + b, [1, 2]))`
  assert.equal(await outputOf(cluster, ['--input-type=module', '-e', program]), '3\n')
})

test(
  'a program that never closes its shared state, and holds a lock, ends when it has nothing to wait for',
  needsServer,
  async () => {
    await using cluster = await TestCluster.start()
    const program = `
    import { connectState } from 'multiproc/cluster'
    const state = await connectState({ cluster: process.env.MULTIPROC_CLUSTER, name: process.env.MULTIPROC_POOL })
    const held = await state.Lock('l').guard()
    await state.Queue('q').put(1)
    console.log(held.isLost, await state.Queue('q').get(), await state.dict('d').size())`
    assert.equal(await outputOf(cluster, ['--input-type=module', '-e', program]), 'false 1 0\n')
  },
)
