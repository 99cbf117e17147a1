// The ids of the rows about clusters, for the libraries that take part in these and in no others.
export const clusterRowIds = [
  'cluster-small-items',
  'cluster-chunk-1',
  'cluster-chunk-16',
  'cluster-round-trip',
  'cluster-round-trip-p99',
  'cluster-1mib',
  'cluster-1mib-parallel',
  'cluster-sleep-agents',
  'cluster-cpu-agents',
  'cluster-kill-child',
  'cluster-kill-agent',
  'cluster-kill-server',
]
