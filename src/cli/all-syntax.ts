/** All commands, in the order in which they are shown. A command that is missing here is in no help and no completion. */
import { BENCH_SYNTAX } from './bench-syntax.ts'
import { CLUSTER_SYNTAX } from './cluster-syntax.ts'
import type { CommandSyntax } from './command-syntax.ts'
import { COMPLETION_SYNTAX } from './completion-syntax.ts'
import { DASHBOARD_SYNTAX } from './dashboard-syntax.ts'
import { DOCTOR_SYNTAX } from './doctor-syntax.ts'
import { MAP_SYNTAX } from './map-syntax.ts'
import { RUN_SYNTAX } from './run-syntax.ts'
import { TOP_SYNTAX } from './top-syntax.ts'
import { WORKER_SYNTAX } from './worker-syntax.ts'

export const ALL_SYNTAX: readonly CommandSyntax[] = [
  MAP_SYNTAX,
  RUN_SYNTAX,
  WORKER_SYNTAX,
  CLUSTER_SYNTAX,
  DASHBOARD_SYNTAX,
  TOP_SYNTAX,
  DOCTOR_SYNTAX,
  BENCH_SYNTAX,
  COMPLETION_SYNTAX,
]
