import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { FinishedItems, hashOf } from '#src/cli/finished-items.js'
import { type LogHead, parseLogLine } from '#src/cli/job-log-format.js'
import { readJobLog } from '#src/cli/job-log-reader.js'
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
