// The functions that every JavaScript library runs, so that all of them do the same work. CommonJS, because that
// is what every one of the libraries can load in a process and in a thread.
'use strict'

const { appendFileSync, readFileSync } = require('node:fs')

exports.square = x => x * x

exports.identity = value => value

exports.byteLength = bytes => bytes.length

// Not timed: shows that the bytes arrived as they left (see rows/argument-1mib.mjs).
exports.checksum = bytes => {
  let sum = 0
  for (let i = 0; i < bytes.length; i += 1) sum = (Math.imul(sum, 31) + bytes[i]) | 0
  return `${bytes.length}:${sum}`
}

exports.sumOfEnds = bytes => bytes[0] + bytes[bytes.length - 1]

exports.makeBytes = length => new Uint8Array(length).fill(7)

let kept = new Uint8Array(0)
exports.keptBytes = length => {
  if (kept.length !== length) kept = new Uint8Array(length).fill(7)
  return kept
}

// Fixed work that no engine can skip: FNV-1a over `iterations` bytes.
const burn = iterations => {
  let hash = 2166136261 | 0
  for (let i = 0; i < iterations; i += 1) hash = Math.imul(hash ^ (i & 255), 16777619)
  return hash >>> 0
}
exports.burn = burn

// The same work as `count` burns in one task: what a program without any pool would let its process do.
exports.burnMany = ({ count, iterations }) => {
  let last = 0
  for (let i = 0; i < count; i += 1) last = burn(iterations)
  return last
}

exports.sleep = ms => new Promise(resolve => setTimeout(resolve, ms, ms))

// For what is killed: notes who runs it and when. The first run never ends, the second does at once.
exports.noteRun = async file => {
  appendFileSync(file, `${process.pid} ${Date.now()}\n`)
  const runs = readFileSync(file, 'utf8').trimEnd().split('\n').length
  if (runs === 1) await new Promise(resolve => setTimeout(resolve, 100_000))
  return runs
}
