/**
 * The contexts of functions as a heap snapshot shows them: the only place where V8 tells the `this` that an arrow
 * function captured. A snapshot stops the thread for some hundred milliseconds, so it is taken for small heaps only.
 * It is written to a directory of our own that is removed before this returns, and holds whatever the heap holds.
 */
import { readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { makeTemporaryDirectory } from '../../platform/temporary-directory.ts'

/** A snapshot of 64 MB of heap takes about half a second. */
export const heapMax = 64 * 1024 * 1024

/** An earlier snapshot leaves some 30 MB of garbage; larger heaps are not worth a collection. */
const garbageMax = 4 * heapMax

interface SnapshotFile {
  snapshot: { meta: { node_fields: string[]; edge_fields: string[]; edge_types: [string[], ...unknown[]] } }
  nodes: number[]
  edges: number[]
  strings: string[]
}

export class HeapSnapshot {
  private readonly file: SnapshotFile
  private readonly nodeSize: number
  private readonly edgeSize: number
  private readonly idField: number
  /** Node position of each object id. */
  private readonly positions = new Map<number, number>()
  private readonly firstEdges = new Map<number, number>()

  private constructor(file: SnapshotFile) {
    const { node_fields: nodeFields, edge_fields: edgeFields } = file.snapshot.meta
    this.file = file
    this.nodeSize = nodeFields.length
    this.edgeSize = edgeFields.length
    this.idField = nodeFields.indexOf('id')
    const edgeCount = nodeFields.indexOf('edge_count')
    let edge = 0
    for (let position = 0; position < file.nodes.length; position += this.nodeSize) {
      this.positions.set(file.nodes[position + this.idField] as number, position)
      this.firstEdges.set(position, edge)
      edge += file.nodes[position + edgeCount] as number
    }
    this.firstEdges.set(file.nodes.length, edge)
  }

  /** `undefined` when the heap is too large. */
  static take(): HeapSnapshot | undefined {
    const { getHeapStatistics, queryObjects, writeHeapSnapshot } = createRequire(import.meta.url)(
      'node:v8',
    ) as typeof import('node:v8') & { queryObjects?: (type: Function, options: object) => unknown }
    const usedSize = getHeapStatistics().used_heap_size
    if (usedSize > heapMax && usedSize < garbageMax) {
      // Counting the objects of a class collects garbage first, and is the only call that does so at once.
      queryObjects?.(HeapSnapshot, { format: 'count' })
    }
    if (getHeapStatistics().used_heap_size > heapMax) return undefined
    const directory = makeTemporaryDirectory('heap')
    try {
      const path = writeHeapSnapshot(join(directory, 'this.heapsnapshot'))
      return new HeapSnapshot(JSON.parse(readFileSync(path, 'utf8')) as SnapshotFile)
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  }

  /** The heap id of the `this` in the contexts of a function, innermost first. */
  thisOfFunction(heapId: number): number | undefined {
    const position = this.positions.get(heapId)
    let context = position === undefined ? undefined : this.follow(position, 'internal', 'context')
    while (context !== undefined) {
      const owner = this.follow(context, 'context', 'this')
      if (owner !== undefined) return this.file.nodes[owner + this.idField]
      context = this.follow(context, 'internal', 'previous')
    }
    return undefined
  }

  private follow(position: number, type: string, name: string): number | undefined {
    const { edges, strings, snapshot } = this.file
    const types = snapshot.meta.edge_types[0]
    const first = this.firstEdges.get(position) as number
    const end = this.firstEdges.get(position + this.nodeSize) as number
    for (let edge = first; edge < end; edge++) {
      const at = edge * this.edgeSize
      if (types[edges[at] as number] !== type || strings[edges[at + 1] as number] !== name) continue
      return edges[at + 2]
    }
    return undefined
  }
}
