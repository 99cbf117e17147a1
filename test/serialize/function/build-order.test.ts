import assert from 'node:assert/strict'
import { test } from 'node:test'
import { array, assert as check, nat, property, record } from 'fast-check'
import { buildOrder, type Needs } from '#src/serialize/function/build-order.js'

function orderOf(needs: Record<number, Partial<Needs>>): number[] {
  return buildOrder(Object.keys(needs).map(Number), node => ({ first: [], later: [], ...needs[node] }))
}

test('what a function captures comes before it', () => {
  assert.deepEqual(orderOf({ 0: { later: [1] }, 1: { later: [2] }, 2: {} }), [2, 1, 0])
})

test('in a cycle, a superclass comes before its subclass although it mentions it', () => {
  assert.deepEqual(orderOf({ 0: { later: [1] }, 1: { first: [0] } }), [0, 1])
  assert.deepEqual(orderOf({ 1: { first: [0] }, 0: { later: [1] } }), [0, 1])
})

test('a chain of 100,000 functions needs no stack', () => {
  const length = 100_000
  const order = buildOrder([0], node => ({ first: [], later: node + 1 < length ? [node + 1] : [] }))
  assert.equal(order.length, length)
  assert.equal(order[0], length - 1)
})

test('everything is ordered once, and all that is needed first comes first when that is possible', () => {
  const graphs = array(record({ first: array(nat(11), { maxLength: 2 }), later: array(nat(11)) }), {
    minLength: 12,
    maxLength: 12,
  })
  check(
    property(graphs, graph => {
      // What is needed first never forms a cycle: a class can't extend its own subclass.
      const needs = graph.map(({ first, later }, node) => ({
        first: first.filter(other => other < node),
        later,
      }))
      const order = buildOrder(needs.keys(), node => needs[node] as Needs)
      assert.deepEqual(
        [...order].sort((a, b) => a - b),
        [...needs.keys()],
      )
      for (const [node, { first }] of needs.entries()) {
        for (const other of first) assert.ok(order.indexOf(other) < order.indexOf(node))
      }
    }),
  )
})
