/**
 * What all objects of shared state have in common: a name, a store, and that they stay in their process. Invariant: to
 * send one to a task fails at the call.
 */
import { inspect } from 'node:util'
import { SerializeError } from '../errors.ts'
import { addReducer } from '../serialize/reducers.ts'
import type { StateStore } from './state-store.ts'

/** Base of everything that a {@link ClusterState} gives out. */
export abstract class ClusterObject {
  /** The same in every program that shares it. */
  readonly name: string
  /** @internal */
  protected readonly store: StateStore

  /** @internal Made by the methods of a {@link ClusterState}. */
  constructor(store: StateStore, name: string) {
    this.store = store
    this.name = name
  }

  /** @internal */
  [inspect.custom](): string {
    return `<${this.constructor.name} ${this.name}>`
  }
}

/** For objects that are bound to the connection of this process. */
export function refuseToSend(type: abstract new (...parameters: never[]) => object, name: string): void {
  addReducer({
    type,
    name,
    encode: value => {
      throw new SerializeError(
        `Cannot send a ${value.constructor.name} to another process: it is bound to the connection of this one\nTo fix: connect within the task, "await using state = await connectState({ cluster, name })", and use the same names there`,
      )
    },
    decode: () => {
      throw new SerializeError('Shared state is never sent', { code: 'ERR_NOT_DESERIALIZABLE' })
    },
  })
}

refuseToSend(ClusterObject, 'multiproc.ClusterObject')
