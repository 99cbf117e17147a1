/** The types of the library, by name. Both sides have the same, so that a name is all that has to be sent. */
import { ACQUIRERS } from './acquirer.ts'
import { ARRAY, VALUE } from './value.ts'
import { CONDITION, EVENT, BARRIER } from './signalling.ts'
import { DICT } from './dict.ts'
import { LIST } from './list.ts'
import { QUEUES } from './managed-queue.ts'
import { NAMESPACE } from './namespace.ts'
import { POOL_TYPES } from './managed-pool.ts'
import type { ServedType } from './served-type.ts'
import { SET } from './set.ts'
import { SHARED_MEMORY } from './shared-memory-types.ts'

/** Those of `SyncManager`. */
export const SYNC_TYPES: readonly ServedType[] = [
  DICT,
  LIST,
  SET,
  NAMESPACE,
  VALUE,
  ARRAY,
  ...ACQUIRERS,
  CONDITION,
  EVENT,
  BARRIER,
  ...QUEUES,
  ...POOL_TYPES,
]

const byName = new Map([...SYNC_TYPES, ...SHARED_MEMORY].map(type => [type.typeId, type]))

/** A type by its name, which the parent has sent. */
export function builtInType(typeId: string): ServedType {
  return byName.get(typeId)!
}
