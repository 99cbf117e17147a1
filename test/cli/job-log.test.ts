import assert from 'node:assert/strict'
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { FileSink } from '#src/cli/file-sink.js'
import { FinishedItems, hashOf } from '#src/cli/finished-items.js'
import { FolderSink } from '#src/cli/folder-sink.js'
import { JobLog, logItem } from '#src/cli/job-log.js'
import { type LogHead, type LogItem, parseLogLine } from '#src/cli/job-log-format.js'
import { readJobLog } from '#src/cli/job-log-reader.js'
import { StreamSink } from '#src/cli/stream-sink.js'
import { checkLeaks } from '../leak-check.js'
import { WorkFolder } from './work-folder.js'

checkLeaks()

const head: LogHead = {
  multiproc: 'map',
  version: 1,
  function: './a.mjs#b',
  input: 'lines',
  output: 'json',
  to: 'file',
  order: 'unordered',
}
const START = JSON.stringify({ started: '2026-01-01T00:00:00.000Z', process: '999999999@1' })

interface Logged {
  line: string
  end: number
  item: number
  isFailed: boolean
}

/** A whole run: the texts of both files, and what the lines of the log say. */
function wholeRun(results: readonly (string | null)[]): { log: string; output: string; logged: Logged[] } {
  let output = ''
  const logged = results.map((result, index): Logged => {
    if (result !== null) output += `${JSON.stringify(result)}\n`
    const end = Buffer.byteLength(output)
    const item = index + 1
    const status = result === null ? 'failed' : 'ok'
    const hash = hashOf(String(item)).toString(16).padStart(8, '0')
    return {
      line: JSON.stringify({ item, status, hash, input: 'ü', end }),
      end,
      item,
      isFailed: result === null,
    }
  })
  const lines = [JSON.stringify(head), START, ...logged.map(({ line }) => line)]
  return { log: lines.map(line => `${line}\n`).join(''), output, logged }
}

test('readJobLog() leaves exactly the results of the inputs that it gives, wherever both files were cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.option(fc.string({ unit: 'grapheme' })), { maxLength: 20 }),
      fc.nat(),
      fc.nat(),
      async (results, logCut, outputCut) => {
        using folder = new WorkFolder()
        const run = wholeRun(results)
        const log = Buffer.from(run.log)
        const output = Buffer.from(run.output)
        const logLeft = log.subarray(0, logCut % (log.length + 1))
        const outputLeft = output.subarray(0, outputCut % (output.length + 1))
        folder.write('log', logLeft)
        folder.write('out', outputLeft)
        const earlier = await readJobLog(folder.file('log'), head, { is: 'file', path: folder.file('out') })
        const lines = logLeft.toString('latin1').split('\n').length - 1
        if (lines === 0) {
          assert.equal(earlier, undefined)
          return
        }
        // Ends only grow: the lines that hold are the first ones.
        const held = run.logged.slice(0, Math.max(0, lines - 2)).filter(({ end }) => end <= outputLeft.length)
        const end = held.at(-1)?.end ?? 0
        assert.equal(earlier?.outputEnd, end)
        assert.deepEqual(readFileSync(folder.file('out')), output.subarray(0, end))
        const { finished } = earlier
        for (const { item } of run.logged) {
          const isHeld = held.some(line => line.item === item)
          assert.equal(finished.hashOf(item), isHeld ? hashOf(String(item)) : undefined)
        }
        assert.equal(finished.count, held.length)
        assert.equal(finished.failedCount, held.filter(({ isFailed }) => isFailed).length)
        assert.deepEqual(
          folder.lines('log').slice(2),
          held.map(({ line }) => line),
        )
        assert.ok(folder.read('log').endsWith('\n'))
        assert.deepEqual(readdirSync(folder.path).sort(), ['log', 'out'])
      },
    ),
  )
})

/** A job log that looks at the results at the moment when it is told of them. */
class WatchingLog extends JobLog {
  static isThere: (item: LogItem) => boolean = () => true
  static seen = 0

  override append(lines: readonly string[]): void {
    for (const line of lines) {
      const item = parseLogLine(line)!
      if (!('item' in item)) continue
      WatchingLog.seen++
      assert.ok(WatchingLog.isThere(item), line)
    }
    super.append(lines)
  }
}

const entryOf = (number: number): LogItem =>
  logItem({ number, place: '', text: String(number) }, { failure: undefined, timing: undefined })

test('FileSink writes results before the lines of the log that tell of them, whatever their length', async () => {
  using folder = new WorkFolder()
  WatchingLog.seen = 0
  WatchingLog.isThere = ({ end }) => statSync(folder.file('out')).size >= end!
  const log = new WatchingLog(folder.file('log'), head, { isNew: true })
  const sink = new FileSink(folder.file('out'), { end: 0, log })
  for (let number = 1; number <= 200; number++) {
    sink.write({ number, line: 'ü'.repeat(number * 7), entry: entryOf(number) })
    if (number % 50 === 0) await new Promise(resolve => setImmediate(resolve))
  }
  await sink.end()
  log.close()
  assert.equal(WatchingLog.seen, 200)
  assert.equal(statSync(folder.file('out')).size, (JSON.parse(folder.lines('log').at(-1)!) as LogItem).end)
})

test('FolderSink has the whole file of a result before the line of the log that tells of it', async () => {
  using folder = new WorkFolder()
  WatchingLog.seen = 0
  WatchingLog.isThere = ({ item }) => folder.read(`out/00000${item}.json`) === `${item}\n`
  const log = new WatchingLog(folder.file('log'), { ...head, to: 'folder' }, { isNew: true })
  const sink = new FolderSink(folder.file('out'), { output: 'json', log })
  for (let number = 1; number <= 9; number++)
    sink.write({ number, line: String(number), entry: entryOf(number) })
  await sink.end()
  log.close()
  assert.equal(WatchingLog.seen, 9)
})

test('StreamSink logs nothing that its stream has not taken', async () => {
  using folder = new WorkFolder()
  const log = new JobLog(folder.file('log'), { ...head, to: 'stdout' }, { isNew: true })
  const taken: string[] = []
  let release: (() => void) | undefined
  const stream = new Writable({
    write(bytes: Buffer, _encoding, done) {
      taken.push(bytes.toString())
      release = done
    },
  })
  const sink = new StreamSink(stream, log)
  sink.write({ number: 1, line: 'a', entry: entryOf(1) })
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(taken, ['a\n'])
  assert.equal(folder.lines('log').length, 2)
  const ended = sink.end()
  while (release !== undefined) {
    const next = release
    release = undefined
    next()
    await new Promise(resolve => setImmediate(resolve))
  }
  await ended
  log.close()
  assert.equal(folder.lines('log').length, 3)
})

test('parseLogLine() believes no line that no run writes', () => {
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), text => {
      const line = parseLogLine(text)
      if (line !== undefined) assert.ok('multiproc' in line || 'process' in line || line.item >= 1)
    }),
  )
  for (const line of [
    'null',
    '[]',
    '{"item":0,"status":"ok","hash":"00000001"}',
    '{"item":1,"status":"fine","hash":"00000001"}',
    '{"item":1,"status":"ok","hash":"1"}',
    '{"item":1,"status":"ok","hash":"00000001","end":-1}',
    '{"item":1.5,"status":"ok","hash":"00000001"}',
  ]) {
    assert.equal(parseLogLine(line), undefined, line)
  }
})

test('FinishedItems keeps what was said last of each input, failed or not', () => {
  const finished = new FinishedItems()
  for (const number of [1, 5000, 3]) finished.add(number, { hash: number + 7, isFailed: number === 3 })
  finished.add(5000, { hash: 8, isFailed: true })
  finished.add(3, { hash: 9, isFailed: false })
  assert.deepEqual([finished.count, finished.failedCount, finished.numberMax], [3, 1, 5000])
  assert.deepEqual(
    [1, 2, 3, 5000, 9e9].map(number => finished.hashOf(number)),
    [8, undefined, 9, 8, undefined],
  )
  finished.forgetFailed()
  assert.deepEqual([finished.count, finished.failedCount, finished.hashOf(5000)], [2, 0, undefined])
  finished.forgetUnless(number => number === 3)
  assert.deepEqual([finished.count, finished.hashOf(1), finished.hashOf(3)], [1, undefined, 9])
})
