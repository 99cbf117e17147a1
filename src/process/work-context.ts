/** What travels with the work of a child beside its target: the stores of `carryAcross()`, and what tools have given. */
import type { Carrier } from '../insights/carrier.ts'
import { beginTasks, runInScope } from '../insights/task-scopes.ts'
import { type CarriedValues, runCarried, takeCarried } from './carried-context.ts'
import type { FollowedProcess } from './followed-process.ts'
import { processState } from './process-state.ts'

export interface WorkContext {
  stores: CarriedValues | undefined
  carrier: Carrier | undefined
  /** Whether the child is to say when it begins with its work, because somebody looks on. */
  tellsReady: boolean
}

/** That of a child which is about to be started; `undefined` where there is nothing to take along. */
export function workContext(followed: FollowedProcess | undefined): WorkContext | undefined {
  const stores = takeCarried()
  if (stores === undefined && followed === undefined) return undefined
  return { stores, carrier: followed?.carrier, tellsReady: followed !== undefined }
}

/** In the child: runs its work where the context is that of its start. */
export function runInContext(context: WorkContext | undefined, name: string, work: () => unknown): unknown {
  return runCarried(context?.stores, () => {
    const workerName = processState.name
    const carrier = context?.carrier ?? {}
    const scope = beginTasks({ name, workerName, index: undefined, count: 1, attempt: 1, carrier })
    if (!scope) return work()
    const end = (): void => scope.end()
    let result: unknown
    try {
      result = runInScope(scope, work)
    } catch (error) {
      end()
      throw error
    }
    if (!(result instanceof Promise)) end()
    else void result.then(end, end)
    return result
  })
}
