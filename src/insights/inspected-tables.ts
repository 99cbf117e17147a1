/**
 * Tables that other parts of the library have for those who inspect the program: machines of a cluster, leases, and what
 * else a pool does not know. Invariant: a table is read only while somebody looks, and a bounded part of it.
 */

/** A table for people. The cells of a row are as many as the columns. */
export interface InspectedTable {
  title: string
  columns: readonly string[]
  rows: readonly (readonly string[])[]
}

const tablesMax = 16
const rowsMax = 200
const cellCharactersMax = 200

const readers = new Set<() => InspectedTable | undefined>()

/**
 * Shows a table to those who inspect the program, as often as they look. `read` gives `undefined` while there is nothing
 * to show. Returns what removes it again.
 */
export function addInspectedTable(read: () => InspectedTable | undefined): () => void {
  readers.add(read)
  return () => void readers.delete(read)
}

/** What there is to show now. A table that cannot be read says so, in its place. */
export function inspectedTables(): InspectedTable[] {
  const tables: InspectedTable[] = []
  for (const read of readers) {
    if (tables.length >= tablesMax) break
    try {
      const table = read()
      if (table) tables.push(bounded(table))
    } catch (error) {
      tables.push({ title: 'A table that cannot be read', columns: ['why'], rows: [[String(error)]] })
    }
  }
  return tables
}

function bounded({ title, columns, rows }: InspectedTable): InspectedTable {
  const cut = (text: string): string => text.slice(0, cellCharactersMax)
  return {
    title: cut(title),
    columns: columns.map(cut),
    rows: rows.slice(0, rowsMax).map(row => columns.map((_, at) => cut(row[at] ?? ''))),
  }
}
