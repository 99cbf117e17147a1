/**
 * The queues that this program has made, for those who inspect it. Invariant: a queue that was closed or collected is in
 * no list for long, and nothing is counted before somebody looks.
 */
import { numberOf } from '../broker/shareable.ts'
import { type InspectedTable, addInspectedTable } from '../insights/inspected-tables.ts'
import type { QueueCore } from './queue-core.ts'

/** So many can be gone before they are looked for. */
const goneMax = 64
const rowsMax = 100

let made: WeakRef<QueueCore>[] | undefined
let lookAtLength = goneMax

/** To be shown until it is closed. Costs a weak reference. */
export function showQueue(core: QueueCore): void {
  if (made === undefined) {
    made = []
    // For as long as the process lives: without queues it shows nothing.
    addInspectedTable(queueTable)
  }
  made.push(new WeakRef(core))
  if (made.length >= lookAtLength) lookAtLength = openQueues().length * 2 + goneMax
}

/** Those that are open, in the order in which they were made. Forgets the others. */
function openQueues(): QueueCore[] {
  const open: QueueCore[] = []
  made = (made ?? []).filter(reference => {
    const core = reference.deref()
    if (core === undefined || core.isClosed) return false
    open.push(core)
    return true
  })
  return open
}

function queueTable(): InspectedTable | undefined {
  const open = openQueues()
  if (open.length === 0) return undefined
  const more = open.length > rowsMax ? `, the first ${rowsMax} of ${open.length}` : ''
  return {
    title: `Queues${more}`,
    columns: ['queue', 'items', 'at most', 'wait to get', 'wait to put'],
    rows: open.slice(0, rowsMax).map(core => {
      const { object, typeName, size, maxSize, placesThatWait } = core
      const number = object && numberOf(object)
      return [
        number === undefined ? typeName : `${typeName} ${number}`,
        String(size),
        maxSize === 0 ? 'no limit' : String(maxSize),
        String(placesThatWait.toGet),
        String(placesThatWait.toPut),
      ]
    }),
  }
}
