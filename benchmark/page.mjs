// Turns a report into docs/benchmarks.md: what a reader of the documentation wants to know, with charts (Mermaid's, which
// GitHub and most Markdown viewers draw), and where we lose, which is computed as well and so cannot be forgotten.
import { bestPeer } from './targets.mjs'

/** Rows that are drawn, with what they say. */
const CHARTS = [
  [
    'map-squares',
    'process',
    'Each bar is a library; a map of JavaScript pools sends a message for each item.',
  ],
  ['single-tasks', 'process', 'Tasks that are submitted one by one and travel together.'],
  ['single-tasks', 'thread', ''],
  ['round-trip', 'process', 'One task, and the next when its answer is there. Lower is better.'],
  ['argument-1mib', 'process', ''],
  ['result-1mib', 'process', ''],
  [
    'cluster-small-items',
    'cluster',
    'Workers on other machines, over a server; here all of them are on one. BullMQ has a job for each item.',
  ],
  ['cluster-round-trip', 'cluster', 'Lower is better.'],
]
/** Below this the difference is within what runs differ by. */
const NOTICEABLE = 1.05

const homeTitles = { process: ', processes', thread: ', threads', cluster: '' }
const quoted = text => `"${text.replaceAll('"', "'")}"`

/** Two digits, or all of a large number. */
const times = factor => (factor >= 100 ? Math.round(factor).toLocaleString('en-US') : factor.toPrecision(2))

/** How many times as good as the peer, for figures of which more or less is better. */
const gain = (row, ours, theirs) => (row.better === 'higher' ? ours / theirs : theirs / ours)

function isShown(one, home) {
  if (one.median === undefined) return false
  return one.home === home || (home === 'process' && one.role === 'python')
}

function chart(row, home, note) {
  const shown = row.summaries
    .filter(one => isShown(one, home))
    .toSorted((a, b) => (row.better === 'higher' ? b.median - a.median : a.median - b.median))
  const names = shown.map(({ library }) => quoted(library)).join(', ')
  const values = shown.map(({ median }) => Number(median.toPrecision(3))).join(', ')
  return [
    `### ${row.title}${homeTitles[home]}`,
    ...(note === '' ? [] : [note]),
    [
      '```mermaid',
      'xychart-beta horizontal',
      `  x-axis [${names}]`,
      `  y-axis ${quoted(row.unit)}`,
      `  bar [${values}]`,
      '```',
    ].join('\n'),
  ]
}

function comparison(row, subject, peer) {
  const factor = gain(row, subject.median, peer.median)
  const figure = value => `${value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3)}`
  return {
    factor,
    line: `| ${row.title} | ${subject.library} | ${figure(subject.median)} ${row.unit} | ${peer.library} | ${figure(peer.median)} ${row.unit} | ${times(factor)}× |`,
  }
}

function comparisons(rows) {
  return rows.flatMap(row =>
    row.summaries
      .filter(one => one.median !== undefined && /^multiproc (?:process|thread|cluster)$/.test(one.library))
      .flatMap(subject => {
        const peers = [
          bestPeer(row, row.summaries, subject.home),
          ...(subject.home === 'process' ? [bestPeer(row, row.summaries, 'python')] : []),
        ]
        return peers.filter(peer => peer !== undefined).map(peer => comparison(row, subject, peer))
      }),
  )
}

function table(list) {
  const header =
    '| what | who | figure | the best of its kind | its figure | how many times as good |\n| --- | --- | --: | --- | --: | --: |'
  return [header, ...list.map(({ line }) => line)].join('\n')
}

function missedTargets(rows) {
  return rows.flatMap(row =>
    row.targets
      .filter(({ verdict }) => verdict === 'missed')
      .map(({ subject, text, ratio }) => {
        const measured = ratio === undefined ? '' : `, measured ${ratio.toPrecision(2)}×`
        return `- ${row.title}: ${subject} should be ${text}${measured}.`
      }),
  )
}

function ofCluster({ environment, rounds }) {
  const { versions, commit, date } = environment
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return `Rows about a [cluster](guide/cluster.md) compare it with [BullMQ](https://docs.bullmq.io), also in one run (${named.join(', ')}; commit ${commit}, ${date}; medians of ${rounds} rounds), with server, program and workers on the same machine; [every figure](../benchmark/results/cluster.md).`
}

/** The page as Markdown; `cluster` is the report about clusters, when there is one. */
export function toPage(report, cluster) {
  const { environment } = report
  const rows = [...report.rows, ...(cluster?.rows ?? [])]
  const all = comparisons(rows).toSorted((a, b) => b.factor - a.factor)
  const ahead = all.filter(({ factor }) => factor >= NOTICEABLE)
  const level = all.filter(({ factor }) => factor < NOTICEABLE && factor > 1 / NOTICEABLE)
  const behind = all.filter(({ factor }) => factor <= 1 / NOTICEABLE)
  const missed = missedTargets(rows)
  const charts = CHARTS.flatMap(([id, home, note]) => {
    const row = rows.find(each => each.id === id)
    return row === undefined ? [] : chart(row, home, note)
  })
  const sections = [
    '# Benchmarks',
    'This page is written by `npm run benchmark`; edit `benchmark/page.mjs` instead.',
    `multiproc, the other pools of npm and Python's \`multiprocessing\`, side by side in one run with ${report.workers} workers each: ${environment.cpu}, ${environment.cores} cores, Node ${environment.node.slice(1)}, commit ${environment.commit}, ${environment.date}. Medians of ${report.rounds} rounds. Run it on your own machine: [benchmark](../benchmark/README.md) tells how, and what each figure is; [every figure](../benchmark/results/latest.md) of this run is there too.`,
    ...(cluster === undefined ? [] : [ofCluster(cluster)]),
    '## Charts',
    ...charts,
    '## Where we are ahead',
    table(ahead),
    ...(level.length > 0 ? ['## Where it makes no difference', table(level)] : []),
    '## Where we lose',
    behind.length > 0 ? table(behind) : 'Nowhere in this run.',
    '## Targets that are missed',
    missed.length > 0
      ? `The project has set itself targets beyond being ahead. These were missed in this run; [benchmark](../benchmark/README.md) says what bounds them.\n\n${missed.join('\n')}`
      : 'None in this run.',
  ]
  return `${sections.join('\n\n')}\n`
}
