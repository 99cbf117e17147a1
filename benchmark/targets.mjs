// Compares the figures with the targets: who the best peer is, what the ratio is, whether the target is met.

/** The library whose median is the best among those that `accept` takes, or undefined. */
function bestOf(row, summaries, accept) {
  const candidates = summaries.filter(summary => summary.median !== undefined && accept(summary))
  const isBetter = (a, b) => (row.better === 'higher' ? a.median > b.median : a.median < b.median)
  return candidates.reduce(
    (found, one) => (found === undefined || isBetter(one, found) ? one : found),
    undefined,
  )
}

/** The best peer of the home, or of all homes with "any"; Python's start methods are the peers of "python". */
export function bestPeer(row, summaries, home) {
  return bestOf(row, summaries, one =>
    home === 'python' ? one.role === 'python' : one.role === 'peer' && (home === 'any' || one.home === home),
  )
}

const peerNames = {
  process: 'the best process pool',
  thread: 'the best thread pool',
  python: "Python's",
  cluster: 'BullMQ',
  any: 'the best JavaScript pool',
}

function describe(row, { reference, factor, moreAtMost, atLeast, atMost }) {
  if (atLeast !== undefined) return `≥ ${atLeast} ${row.unit}`
  if (atMost !== undefined) return `≤ ${atMost} ${row.unit}`
  const name = reference.library ?? peerNames[reference.bestPeerOf]
  if (moreAtMost !== undefined) return `≤ ${name} + ${moreAtMost} ${row.unit}`
  const sign = row.better === 'higher' ? '≥' : '≤'
  return factor === 1 ? `${sign} ${name}` : `${sign} ${factor}× ${name}`
}

/**
 * @returns {{ text: string, subject: string, value?: number, reference?: string, referenceValue?: number,
 *   ratio?: number, verdict: 'met' | 'missed' | 'not measured' }}
 */
export function judge(row, target, summaries) {
  const judged = { text: describe(row, target), subject: target.subject, verdict: 'not measured' }
  const subject = summaries.find(({ library }) => library === target.subject)
  if (subject?.median === undefined) return judged
  judged.value = subject.median
  const { atLeast, atMost } = target
  if (atLeast !== undefined || atMost !== undefined) {
    const isMet = subject.median >= (atLeast ?? -Infinity) && subject.median <= (atMost ?? Infinity)
    judged.verdict = isMet ? 'met' : 'missed'
    return judged
  }
  const reference =
    target.reference.library === undefined
      ? bestPeer(row, summaries, target.reference.bestPeerOf)
      : summaries.find(({ library }) => library === target.reference.library)
  if (reference?.median === undefined) return judged
  judged.reference = reference.library
  judged.referenceValue = reference.median
  judged.ratio = subject.median / reference.median
  const isMet =
    target.moreAtMost === undefined
      ? row.better === 'higher'
        ? judged.ratio >= target.factor
        : judged.ratio <= target.factor
      : subject.median - reference.median <= target.moreAtMost
  judged.verdict = isMet ? 'met' : 'missed'
  return judged
}
