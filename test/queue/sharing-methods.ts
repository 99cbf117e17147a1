/** One body of tests for every start method whose children share the heap: without the addon only threads do. */
import { describe } from 'node:test'
import type { StartMethod } from 'multiproc'
import { nativeAddon } from '#src/platform/native-addon.js'

export const isNative = nativeAddon() !== undefined

export function forEachSharingMethod(body: (method: StartMethod) => void): void {
  const methods: StartMethod[] = isNative ? ['spawn', 'thread'] : ['thread']
  for (const method of methods) describe(method, () => body(method))
}
