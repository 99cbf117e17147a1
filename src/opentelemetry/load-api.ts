/** OpenTelemetry's API, a package that only those need who trace with it. It is loaded when it is asked for. */
import { createRequire } from 'node:module'
import type * as OpenTelemetry from '@opentelemetry/api'
import { ProcessError } from '../errors.ts'

export type Api = typeof OpenTelemetry

/** @throws ProcessError `ERR_NOT_SUPPORTED` when the package is not installed. */
export function loadApi(): Api {
  try {
    return createRequire(import.meta.url)('@opentelemetry/api') as Api
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw cause
    throw new ProcessError(
      'ERR_NOT_SUPPORTED',
      'Cannot make spans: the package "@opentelemetry/api" is not installed\nTo fix: npm install @opentelemetry/api',
      { cause },
    )
  }
}
