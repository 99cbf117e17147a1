// Turns the samples into the report: one object for latest.json, and the same as Markdown for latest.md.
import { best, median } from './statistics.mjs'
import { bestPeer, judge } from './targets.mjs'

/** All figures of the run, with every sample. */
export function makeReport({ environment, options, workers, rows, libraries, run }) {
  return {
    environment,
    command: options.command,
    rounds: options.rounds,
    workers,
    isQuick: options.isQuick,
    loadAverage: { lowest: Math.min(...run.loadAverages), highest: Math.max(...run.loadAverages) },
    skipped: run.skipped,
    rows: rows.map(row => {
      const summaries = run.results
        .filter(result => result.row === row.id)
        .map(result => {
          const { role, home } = libraries.find(({ name }) => name === result.library)
          // A library that failed in one round has no figure, however well it did in the others.
          if (result.failure !== undefined || result.samples.length === 0) return { ...result, role, home }
          return {
            ...result,
            role,
            home,
            median: median(result.samples),
            best: best(result.samples, row.better),
          }
        })
      const { id, title, unit, better, how } = row
      const targets = row.targets
        .filter(({ subject }) => libraries.some(({ name }) => name === subject))
        .map(target => judge(row, target, summaries))
      return {
        id,
        title,
        unit,
        better,
        how,
        size: options.isQuick ? row.quickSize : row.size,
        targets,
        summaries,
      }
    }),
  }
}

function formatNumber(value) {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** Cells with a bar or a line break would end the cell or the table. */
const escapeCell = text => String(text).replaceAll('|', '\\|').replaceAll(/\s+/g, ' ')

function table(header, alignment, lines) {
  const toLine = cells => `| ${cells.map(escapeCell).join(' | ')} |`
  return [toLine(header), toLine(alignment), ...lines.map(toLine)].join('\n')
}

function targetsTable(report) {
  const lines = report.rows.flatMap(row =>
    row.targets.map(target => {
      const unit = row.unit.startsWith('×') ? '' : ` ${row.unit}`
      const reference =
        target.referenceValue === undefined
          ? '–'
          : `${target.reference}: ${formatNumber(target.referenceValue)}${unit}`
      return [
        row.title,
        `${target.subject} ${target.text}`,
        target.value === undefined ? '–' : `${formatNumber(target.value)}${unit}`,
        reference,
        target.ratio === undefined ? '–' : `${formatNumber(target.ratio)}×`,
        report.isQuick && target.verdict !== 'not measured' ? 'not judged' : target.verdict,
      ]
    }),
  )
  return table(
    ['what', 'target', 'measured', 'reference', 'ratio', 'verdict'],
    ['---', '---', '--:', '--:', '--:', '---'],
    lines,
  )
}

function rowTable(row) {
  const direction = row.better === 'higher' ? -1 : 1
  const homes = ['process', 'thread', 'python', 'cluster']
  const sorted = row.summaries.toSorted(
    (a, b) =>
      homes.indexOf(a.home) - homes.indexOf(b.home) ||
      direction * ((a.median ?? direction * Infinity) - (b.median ?? direction * Infinity)) ||
      0,
  )
  const lines = sorted.map(one => {
    const home = one.home === 'python' ? 'process' : one.home
    const peer = bestPeer(row, row.summaries, home)
    if (one.median === undefined) {
      return [one.library, home, one.failure ?? 'no figure', '–', '–', one.message ?? '']
    }
    const ratio = peer === undefined ? '–' : `${formatNumber(one.median / peer.median)}×`
    return [one.library, home, formatNumber(one.median), formatNumber(one.best), ratio, one.note ?? '']
  })
  return table(
    ['library', 'workers are', `median, ${row.unit}`, 'best', 'to the best peer of its kind', 'note'],
    ['---', '---', '--:', '--:', '--:', '---'],
    lines,
  )
}

function sizeText(size) {
  const parts = Object.entries(size).map(([name, value]) => `${name} ${value.toLocaleString('en-US')}`)
  return parts.length === 0 ? '' : ` Size: ${parts.join(', ')}.`
}

/** The report as Markdown. */
export function toMarkdown(report) {
  const { environment } = report
  const versions = Object.entries(environment.versions).map(([name, version]) => `${name} ${version}`)
  const { lowest, highest } = report.loadAverage
  const facts = [
    `- date: ${environment.date}; commit: ${environment.commit}`,
    `- machine: ${environment.cpu}, ${environment.cores} cores, ${environment.memoryGiB} GiB; ${environment.system}`,
    `- versions: Node ${environment.node.slice(1)}, ${versions.join(', ')}`,
    `- ${report.workers} workers in every pool; rounds: ${report.rounds}; load average of the machine ${lowest.toFixed(2)} to ${highest.toFixed(2)} (the benchmark itself makes about ${report.workers})`,
    `- command: \`${report.command}\``,
  ]
  const sections = [
    '# Benchmark results',
    facts.join('\n'),
    ...(report.isQuick
      ? ['**A quick run: its sizes show that everything works, its figures mean nothing.**']
      : []),
    'Medians of all samples; a ratio is median by median. How each figure comes about: [README.md](../README.md).',
    '## Targets',
    targetsTable(report),
    ...report.rows.flatMap(row => [
      `## ${row.title}`,
      `${row.how}${sizeText(row.size)} ${row.better === 'higher' ? 'Higher' : 'Lower'} is better.`,
      rowTable(row),
    ]),
  ]
  if (report.skipped.length > 0) {
    sections.push(
      '## Left out',
      report.skipped.map(({ library, reason }) => `- ${library}: ${escapeCell(reason)}`).join('\n'),
    )
  }
  return `${sections.join('\n\n')}\n`
}
