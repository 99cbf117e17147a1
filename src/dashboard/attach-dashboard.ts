/**
 * Loaded wherever pools are: lets programs with pools be looked at, and gives pools their option `dashboard`. Invariant:
 * what it loads at once is next to nothing, and opens nothing.
 */
import { registerDashboard } from '../pool/dashboard-option.ts'
import { makeInspectable } from './inspectable.ts'

makeInspectable()
registerDashboard((core, options) => {
  // The pool works without it.
  show(core, options).catch((error: unknown) => process.emitWarning(error as Error))
})

async function show(...args: Parameters<Parameters<typeof registerDashboard>[0]>): Promise<void> {
  const { showOnDashboard } = await import('./pool-dashboard.ts')
  showOnDashboard(...args)
}
