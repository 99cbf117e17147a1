/** What tasks require of machines, and whether a machine has it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Pool } from 'multiproc'
import {
  type Requirements,
  type TaskRequirements,
  checkOffer,
  checkRequires,
  describeOffer,
  describeRequirements,
  requirementsIn,
  slotsOf,
} from '#src/pool/requirements.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

function required(given: TaskRequirements): Requirements {
  return checkRequires(given)!
}

describe('requires', () => {
  test('has one key for all ways to say the same, and none for nothing', () => {
    const one = required({
      labels: { zone: ['us', 'eu', 'us'], kind: 'x' },
      resources: { memory: '2G', gpu: 1 },
    })
    const other = required({
      resources: { gpu: 1, memory: 2 ** 31 },
      labels: { kind: ['x'], zone: ['eu', 'us'] },
    })
    assert.equal(one.key, other.key)
    assert.deepEqual(requirementsIn(one.key), one)
    assert.equal(checkRequires({}), undefined)
    assert.equal(checkRequires({ labels: {}, resources: {} }), undefined)
    assert.notEqual(one.key, required({ labels: { zone: 'eu', kind: 'x' }, resources: { gpu: 1 } }).key)
  })

  test('requirementsIn() is undefined for everything that is no key', () => {
    for (const text of [
      '',
      '[]',
      '[1,2]',
      '[{},{}]',
      '{"labels":{}}',
      '[{"b":["x"],"a":["x"]},{}]',
      '[{},{"gpu":"1"}]',
    ])
      assert.equal(requirementsIn(text), undefined, text)
  })

  test('what makes no sense is refused with the option and what to do', () => {
    const wrong: [unknown, RegExp][] = [
      ['gpu', /"requires" must be an object/],
      [{ gpus: 1 }, /requires has no option "gpus"/],
      [{ labels: 'zone' }, /"requires.labels" must be an object/],
      [{ labels: { zone: '' } }, /requires.labels.zone/],
      [{ labels: { zone: [] } }, /requires.labels.zone/],
      [{ labels: { zone: 1 } }, /requires.labels.zone/],
      [{ labels: { 'a b': 'c' } }, /"a b"/],
      [{ labels: JSON.parse('{"__proto__":"x"}') as unknown }, /"__proto__"/],
      [{ resources: { gpu: 0 } }, /requires.resources.gpu/],
      [{ resources: { gpu: -1 } }, /requires.resources.gpu/],
      [{ resources: { gpu: Number.NaN } }, /requires.resources.gpu/],
      [{ resources: { gpu: 1.5 } }, /less than 1, but it is 1.5\nTo fix: ask for 2/],
      [{ resources: { memory: '16 gigabytes' } }, /'16G'/],
      [{ resources: Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`r${at}`, 1])) }, /17 entries/],
    ]
    for (const [given, message] of wrong)
      assert.throws(() => checkRequires(given), { code: 'ERR_INVALID_ARGUMENT', message })
  })

  test('a machine has what its labels and resources say, and none of what they do not', () => {
    const offer = checkOffer({ labels: { zone: 'eu' }, resources: { gpu: 2, memory: '64G', license: 0 } })
    const cases: [TaskRequirements, number][] = [
      [{ labels: { zone: 'eu' } }, Infinity],
      [{ labels: { zone: ['us', 'eu'] } }, Infinity],
      [{ labels: { zone: 'us' } }, 0],
      [{ labels: { toString: 'eu' } }, 0],
      [{ resources: { gpu: 1 } }, 2],
      [{ resources: { gpu: 2 } }, 1],
      [{ resources: { gpu: 3 } }, 0],
      [{ resources: { gpu: 0.5 } }, 4],
      [{ resources: { gpu: 0.4 } }, 4],
      [{ resources: { gpu: 1 / 3 } }, 6],
      [{ resources: { gpu: 0.7 } }, 2],
      [{ resources: { memory: '20G' } }, 3],
      [{ resources: { gpu: 1, memory: '40G' } }, 1],
      [{ resources: { license: 1 } }, 0],
      [{ resources: { tpu: 1 } }, 0],
    ]
    for (const [given, slots] of cases)
      assert.equal(slotsOf(offer, required(given)), slots, JSON.stringify(given))
  })

  test('are told to people in short', () => {
    const given = { labels: { zone: ['eu', 'us'] }, resources: { gpu: 0.5, memory: '1.5G' } }
    assert.equal(describeRequirements(required(given)), 'zone=eu|us, gpu=0.5, memory=1.5G')
    assert.equal(describeOffer(checkOffer({})), 'no labels and no resources')
  })

  test('needs a pool on a cluster, in the options of a pool and of a call', async () => {
    assert.throws(() => new Pool({ processes: 1, requires: { resources: { gpu: 1 } } }), {
      code: 'ERR_NOT_SUPPORTED',
    })
    await using pool = new Pool(1)
    const requires = { labels: { zone: 'eu' } }
    assert.throws(() => pool.apply(() => 1, [], { requires }), { code: 'ERR_NOT_SUPPORTED' })
    assert.throws(() => pool.map((n: number) => n, [1], { requires }), { code: 'ERR_NOT_SUPPORTED' })
    assert.equal(await pool.apply(() => 1), 1)
  })
})
