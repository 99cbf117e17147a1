/**
 * What every test of the codec shares: there and back, and an equality that misses nothing.
 */
import assert from 'node:assert/strict'
import { decode, encode } from '#src/serialize/codec.js'

/** There and back, from a frame that lies at an odd address and is destroyed afterwards. */
export function roundTrip<T>(value: T): T {
  const bytes = encode(value)
  const frame = new Uint8Array(bytes.length + 3)
  frame.set(bytes, 3)
  const result = decode(frame.subarray(3)) as T
  frame.fill(0xee)
  return result
}

/** Deep equality that tells -0 from 0, holes from undefined, and compares the order of keys. */
export function assertSame(actual: unknown, expected: unknown): void {
  assert.deepStrictEqual(actual, expected)
  assert.equal(keyOrder(actual), keyOrder(expected))
}

function keyOrder(value: unknown): string {
  if (Array.isArray(value) && value.length > 1000) return ''
  return typeof value === 'object' && value !== null ? JSON.stringify(Reflect.ownKeys(value).map(String)) : ''
}

/** The array without the elements at these places. */
export function withHoles<T>(array: T[], ...places: number[]): T[] {
  for (const place of places) Reflect.deleteProperty(array, place)
  return array
}

/** The seed of a random test: `SEED=n` replays the one that a failure printed. */
export function seed(): number {
  const given = process.env['SEED']
  const chosen = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given)
  console.log(`# SEED=${chosen}`)
  return chosen
}
