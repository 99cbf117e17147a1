/** Runs every example as a user would, in a fresh process, and compares what it prints. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { nativeStatus } from '#src/platform/native-addon.js'

const examples = fileURLToPath(new URL('../examples/', import.meta.url))

async function outputOf(name: string): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [`${examples}${name}.js`], {
    timeout: 60_000,
  })
  assert.equal(stderr, '')
  return stdout
}

/** Lines whose order differs from run to run, sorted. */
function sortedLines(output: string): string[] {
  return output.trimEnd().split('\n').sort()
}

/** Without the addon, typed arrays over shared memory reach threads only. */
const needsNative = { skip: nativeStatus().isOn ? false : 'needs the native addon' }

test('01: the child prints, is joined, and then the parent prints', async () => {
  assert.equal(await outputOf('01-child-process'), 'This is a child process\nThis is the parent process\n')
})

test('02: map() of square gives the squares in order', async () => {
  assert.equal(await outputOf('02-pool-map'), '[ 1, 4, 9, 16, 25 ]\n')
})

test('03: every worker starts before it finishes, and all have finished in the end', async () => {
  const lines = (await outputOf('03-pool-of-workers')).trimEnd().split('\n')
  assert.equal(lines.pop(), 'All workers have finished')
  const workers = [0, 1, 2, 3]
  assert.deepEqual(
    [...lines].sort(),
    workers.flatMap(n => [`Worker ${n} finished`, `Worker ${n} started`]),
  )
  for (const n of workers) {
    assert.ok(lines.indexOf(`Worker ${n} started`) < lines.indexOf(`Worker ${n} finished`), `worker ${n}`)
  }
})

test('04: each of four processes prints its own number before the parent goes on', async () => {
  const output = await outputOf('04-four-processes')
  assert.ok(output.endsWith('All processes have ended\n'))
  assert.deepEqual(sortedLines(output), [
    'All processes have ended',
    'Process 0: 1',
    'Process 1: 2',
    'Process 2: 3',
    'Process 3: 4',
  ])
})

test('05: a process changes its own copy, and a thread the shared memory', async () => {
  assert.equal(
    await outputOf('05-memory-isolation'),
    [
      'Child process: counter is 1',
      'Parent process: counter is 0',
      'Thread: shared counter is 1',
      'Parent process: shared counter is 1',
      '',
    ].join('\n'),
  )
})

test('06: prints a table of times, a bar for each, and that all places gave the same results', async () => {
  const output = await outputOf('06-processes-or-threads')
  assert.match(
    output,
    new RegExp(
      [
        String.raw`^16 tasks of each kind, \d+ workers, times in ms`,
        '',
        String.raw` +one thread +threads +processes`,
        String.raw`CPU-bound +\d+ +\d+ +\d+`,
        String.raw`I/O-bound +\d+ +\d+ +\d+`,
        '',
        ...['CPU', 'I/O'].flatMap(kind =>
          ['one thread', 'threads', 'processes'].map(place => `${kind}-bound, ${place} +█+`),
        ),
        '',
        'All three gave the same results: yes\n$',
      ].join('\n'),
    ),
  )
  assert.ok(output.includes('█'.repeat(40)), 'the longest bar has the full width')
})

test('07: four processes count in one file and lose nothing', async () => {
  assert.equal(await outputOf('07-lock'), 'Counted to 400\n')
})

test('08: two processes draw the rows of a picture into one array', needsNative, async () => {
  const lines = (await outputOf('08-shared-array')).trimEnd().split('\n').slice(1)
  assert.equal(lines.length, 23)
  // The set is symmetric: the rows below its middle are those above.
  for (const distance of [1, 5, 11]) assert.equal(lines[11 + distance], lines[11 - distance])
  assert.ok(lines[11]!.includes('%'.repeat(40)))
})

test('09: two processes take texts from one queue and put their lengths into another', async () => {
  assert.equal(await outputOf('09-queue'), 'one 3\nthree 5\neleven 6\nseventeen 9\n')
})

test('10: three processes serve one port, and one that was killed is replaced', needsNative, async () => {
  assert.equal(
    await outputOf('10-pre-fork-server'),
    'first says hello\nsecond says hello\nthird says hello\nreplacement says hello\n',
  )
})

test('11: four processes count into the dict of a manager, and no word is lost', async () => {
  assert.equal(await outputOf('11-manager-dict'), 'to: 6, be: 2, sleep: 2\n')
})

test('12: another program uses a manager over TLS, and one with a wrong key is not let in', async () => {
  assert.equal(await outputOf('12-remote-manager'), "[ 'from', 'there', 'over TLS' ]\nAuthenticationError\n")
})

test('13: futures come as they are completed, then the results of the map in order', async () => {
  const lines = (await outputOf('13-executor')).trimEnd().split('\n')
  assert.deepEqual(lines.slice(0, 3).toSorted(), [
    '168 primes below 1000',
    '25 primes below 100',
    '4 primes below 10',
  ])
  assert.deepEqual(lines.slice(3), ['32', '9', '4'])
})

test('14: clients that know the key are answered, and a stranger is refused', async () => {
  assert.equal(await outputOf('14-listener-client'), 'HELLO\na stranger: AuthenticationError\nGOODBYE\n')
})

test('15: the spans of tasks are within those of their calls, and these within that of the request', async () => {
  assert.equal(
    await outputOf('15-opentelemetry'),
    [
      'request',
      '  map root items: 4',
      '    root items: 2',
      '    root items: 2',
      '  apply root items: 1 RangeError',
      '    root RangeError',
      '',
    ].join('\n'),
  )
})

test('the demo of README.md runs all of them that need no cluster, and gets equal results from one process and two', async () => {
  const demo = fileURLToPath(new URL('../demo/demo-main.js', import.meta.url))
  const env = { ...process.env }
  delete env['MULTIPROC_CLUSTER']
  const { stdout } = await promisify(execFile)(process.execPath, [demo, '--limit', '50', examples], {
    timeout: 90_000,
    env,
  })
  assert.match(stdout, /== examples\/14-listener-client\.ts/)
  assert.match(stdout, /== examples\/16-cluster\.ts\nLeft out: it needs a server/)
  assert.match(stdout, /Results: +equal/)
})

test('every example has a test here', () => {
  const names = readdirSync(examples).filter(name => /^\d\d-.*\.js$/.test(name))
  const numbers = Array.from({ length: 17 }, (_, index) => String(index + 1).padStart(2, '0'))
  assert.deepEqual(names.map(name => name.slice(0, 2)).sort(), numbers)
})
