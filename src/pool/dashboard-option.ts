/**
 * The option `dashboard` of a pool. What it opens is in a layer above, which registers itself here, so that a program
 * without a dashboard loads nothing of it.
 */
import { assertKnownOptions } from '../platform/known-options.ts'
import { invalidArgument } from '../errors.ts'
import { show } from './option-checks.ts'
import type { PoolCore } from './pool-core.ts'

/** Options of the dashboard of a program. */
export interface DashboardOptions {
  /** The port on 127.0.0.1. Default: any that is free. */
  port?: number | undefined
  /** Opens the page in the browser of the user. Default: false. */
  open?: boolean | undefined
}

type Opener = (core: PoolCore, options: DashboardOptions) => void

let opener: Opener | undefined

/** Called once by the layer that has the dashboard. */
export function registerDashboard(open: Opener): void {
  opener = open
}

/** The checked option: `undefined` when there is to be no dashboard. */
export function checkDashboard(value: unknown): DashboardOptions | undefined {
  if (value === undefined || value === null || value === false) return undefined
  if (value === true) return {}
  if (typeof value !== 'object') {
    throw invalidArgument(
      TypeError,
      `The option "dashboard" must be true or an object, but it is ${show(value)}\nTo fix: pass true, or { port, open }`,
    )
  }
  assertKnownOptions('dashboard', value, ['port', 'open'])
  const { port, open } = value as { port?: unknown; open?: unknown }
  if (port !== undefined && !(Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65535)) {
    throw invalidArgument(
      RangeError,
      `The option "dashboard.port" must be a whole number from 0 to 65535, but it is ${typeof port === 'number' ? port : show(port)}\nTo fix: pass such a number, or leave it out for any free port`,
    )
  }
  return { port: port as number | undefined, open: open === true }
}

/** Shows a pool on the dashboard of this program, which is opened for the first one. */
export function openDashboardOf(core: PoolCore, options: DashboardOptions): void {
  if (!opener) {
    throw new Error('This is a bug in multiproc, please report it: no dashboard was registered')
  }
  opener(core, options)
}
