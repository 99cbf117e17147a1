/** A module that travels as a file is known by its hash: each side loads its own copy, and two versions are two modules. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { noteBundle } from '#src/serialize/bundles.js'
import { decode, encode, prepare } from '#src/serialize/codec.js'

const folder = mkdtempSync(join(tmpdir(), 'multiproc-bundles-test-'))
after(() => rmSync(folder, { recursive: true }))

function written(name: string, answer: number): string {
  const file = join(folder, name)
  writeFileSync(file, `export const answer = () => ${answer}\nexport class Box { value = ${answer} }\n`)
  return pathToFileURL(file).href
}

async function sent(bytes: Uint8Array): Promise<unknown> {
  await prepare(bytes)
  return decode(bytes)
}

test('references name a bundle by its hash, and what is loaded for it goes back under the name that it came by', async () => {
  const url = written('tasks.mjs', 1)
  const { answer, Box } = (await import(url)) as { answer: () => number; Box: new () => { value: number } }
  // It has been sent before it was known to be a bundle.
  assert.equal(((await sent(encode(answer))) as () => number)(), 1)
  noteBundle({ hash: 'one', url, place: url })
  const one = [encode(answer), encode(new Box())]
  noteBundle({ hash: 'two', url, place: url })
  const two = encode(answer)
  assert.notDeepEqual(one[0], two)
  // The other side, with files of its own for both versions of that module.
  noteBundle({ hash: 'one', url, place: written('one.mjs', 11) })
  noteBundle({ hash: 'two', url, place: written('two.mjs', 22) })
  const theirs = (await sent(one[0]!)) as () => number
  assert.equal(theirs(), 11)
  assert.equal(((await sent(two)) as () => number)(), 22)
  const box = (await sent(one[1]!)) as { value: number }
  assert.equal(box.value, 1)
  assert.notEqual(box.constructor, Box)
  // And back.
  const back = Buffer.from(encode(theirs)).toString('latin1')
  assert.ok(back.includes(url) && back.includes('one') && !back.includes('one.mjs'))
  noteBundle({ hash: 'one', url, place: url })
  assert.equal(((await sent(encode(box))) as { value: number }).value, 1)
})

test('a bundle that is not here is looked for where its program has it', async () => {
  const url = written('elsewhere.mjs', 5)
  const { answer } = (await import(url)) as { answer: () => number }
  noteBundle({ hash: 'unknown there', url, place: url })
  // As another process, to which nobody has told of it.
  const text = Buffer.from(encode(answer)).toString('latin1').replaceAll('unknown there', 'unknown here!')
  const bytes = Buffer.from(text, 'latin1')
  assert.equal(((await sent(bytes)) as () => number)(), 5)
})
