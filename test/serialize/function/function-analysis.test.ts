import assert from 'node:assert/strict'
import { test } from 'node:test'
import { analyseFunction } from '#src/serialize/function/function-analysis.js'

function freeNames(text: string): string[] {
  return [...analyseFunction(text).free.keys()].sort()
}

test('a variable is free when nothing inside the function declares it', () => {
  assert.deepEqual(freeNames('(a, { b, c: [d = e] }, ...f) => a + b + d + f + g'), ['e', 'g'])
  assert.deepEqual(freeNames('function f() { return typeof x; var x }'), [])
  assert.deepEqual(freeNames('() => { { let a = 1 } return a }'), ['a'])
  assert.deepEqual(freeNames('() => { for (const i of list) use(i); return i }'), ['i', 'list', 'use'])
  assert.deepEqual(freeNames('() => { try { a() } catch ({ message = b }) { return message } }'), ['a', 'b'])
  assert.deepEqual(freeNames('() => { label: for (;;) break label }'), [])
  assert.deepEqual(freeNames('() => ({ key: value, short, [computed]: 1 }).member'), [
    'computed',
    'short',
    'value',
  ])
  assert.deepEqual(freeNames('() => { switch (a) { case b: let c; return c } }'), ['a', 'b'])
  assert.deepEqual(freeNames('() => { class A extends B { [k] = v; static { w } } return A }'), [
    'B',
    'k',
    'v',
    'w',
  ])
})

test('methods, accessors and private methods are parsed as they print', () => {
  assert.equal(analyseFunction('get x() { return this.y }').accessor, 'get')
  assert.equal(analyseFunction('async *[key]() { yield z }').kind, 'method')
  assert.deepEqual(freeNames('static() { return q }'), ['q'])
  assert.equal(analyseFunction('#hidden() { return 1 }').form, 'class-member')
})

test('an assignment is seen in every form that it can have', () => {
  const texts = [
    'n = 1',
    'n += 1',
    'n++',
    '[n] = x',
    '({ n } = x)',
    '({ a: n = 1 } = x)',
    '[...n] = x',
    'n ??= 1',
  ]
  for (const text of [...texts, 'for (n of x);', 'for (n in x);']) {
    assert.ok(analyseFunction(`() => { ${text} }`).free.get('n')?.isAssigned, text)
  }
  assert.equal(analyseFunction('() => { n.member = 1; n[0]++ }').free.get('n')?.isAssigned, false)
})

test('a variable counts as used whole unless only members are read', () => {
  const used = (text: string) => analyseFunction(text).free.get('n')
  assert.equal(used('() => n.a + n.b()')?.isUsedWhole, false)
  assert.deepEqual([...(used('() => n.a + n.b()')?.members ?? [])], ['a', 'b'])
  for (const text of [
    '() => n',
    '() => n[0]',
    '() => { n.a = 1 }',
    '() => delete n.a',
    '() => n.a++',
    '() => f(n)',
  ]) {
    assert.equal(used(text)?.isUsedWhole, true, text)
  }
})

test('this belongs to the surroundings in arrow functions only', () => {
  assert.equal(analyseFunction('() => () => this.a').thisUses.length, 1)
  assert.equal(analyseFunction('() => function () { return this.a }').thisUses.length, 0)
  assert.equal(analyseFunction('() => class { a = this.b }').thisUses.length, 0)
  assert.equal(analyseFunction('function f() { return this }').thisUses.length, 0)
})

test('direct eval, super, new.target and private names are noticed', () => {
  assert.ok(analyseFunction('() => eval("1")').usesDirectEval)
  assert.ok(!analyseFunction('() => (0, eval)("1")').usesDirectEval)
  assert.ok(analyseFunction('m() { return super.m() }').usesSuper)
  assert.ok(!analyseFunction('() => class extends A { m() { return super.m() } }').usesSuper)
  assert.ok(analyseFunction('() => new.target').usesOuterNewTarget)
  assert.deepEqual([...analyseFunction('m() { return this.#a }').privateNames], ['#a'])
})
