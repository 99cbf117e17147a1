/** One body of tests for every start method. Without the addon, processes reach the heap through its broker. */
import { describe } from 'node:test'
import type { StartMethod } from 'multiproc'
import { nativeAddon } from '#src/platform/native-addon.js'

export const isNative = nativeAddon() !== undefined

export function forEachSharingMethod(body: (method: StartMethod) => void): void {
  const methods: StartMethod[] = ['spawn', 'thread']
  for (const method of methods) describe(method, () => body(method))
}
