/** One body of tests for every start method: processes and threads keep the same promises. */
import { describe } from 'node:test'
import { getAllStartMethods, type StartMethod } from 'multiproc'

/** Declares the tests of `body` once for each start method. */
export function forEachStartMethod(body: (method: StartMethod) => void): void {
  for (const method of getAllStartMethods()) describe(method, () => body(method))
}
