/**
 * The files of the page, and those of uPlot, which draws its charts. Invariant: only what is listed here is served,
 * whatever path is asked for.
 */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const

const OWN = [
  'index.html',
  'style.css',
  'icon.svg',
  'main.js',
  'calls-list.js',
  'charts.js',
  'elements.js',
  'failures-list.js',
  'format.js',
  'live-stream.js',
  'overview.js',
  'tables.js',
  'theme.js',
  'timeline.js',
  'workers-table.js',
]
/** As the page calls them, and where they are in the package "uplot". */
const CHART = { 'uplot.js': 'uplot/dist/uPlot.esm.js', 'uplot.css': 'uplot/dist/uPlot.min.css' }

/** The names of all files. */
export const PAGE_FILES: readonly string[] = [...OWN, ...Object.keys(CHART)]

/** A file of the page, or `undefined` when there is none of that name. */
export async function pageFile(name: string): Promise<{ type: string; content: Buffer } | undefined> {
  const path = pathOf(name)
  if (path === undefined) return undefined
  const type = TYPES[name.slice(name.lastIndexOf('.') + 1) as keyof typeof TYPES]
  return { type, content: await readFile(path) }
}

function pathOf(name: string): string | undefined {
  if (OWN.includes(name)) return fileURLToPath(new URL(`page/${name}`, import.meta.url))
  if (!Object.hasOwn(CHART, name)) return undefined
  return createRequire(import.meta.url).resolve(CHART[name as keyof typeof CHART])
}
