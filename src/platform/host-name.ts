/** What this machine is called, for people: names of machines are not unique, and nothing relies on them. */
import { hostname } from 'node:os'

export function hostName(): string {
  return hostname()
}
