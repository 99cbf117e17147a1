/** The version in package.json, which lies two folders above both src/cli/ and dist/cli/. */
import { createRequire } from 'node:module'

export function packageVersion(): string {
  return (createRequire(import.meta.url)('../../package.json') as { version: string }).version
}
