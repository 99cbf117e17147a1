// The two summaries of a list of samples that the reports show.

export function median(samples) {
  const sorted = samples.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** @param {'higher' | 'lower'} better */
export function best(samples, better) {
  return better === 'higher' ? Math.max(...samples) : Math.min(...samples)
}
