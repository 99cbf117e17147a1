/** `multiproc map`: calls a function for every input, in a pool. Its options and exit codes are those of MAP_SYNTAX. */
import { renderHelp } from './command-syntax.ts'
import { EXIT_OK } from './exit-codes.ts'
import { loadTask, locateTask } from './load-task.ts'
import { MapInputs } from './map-inputs.ts'
import { parseMapOptions } from './map-options.ts'
import { MapRun } from './map-run.ts'
import { MAP_SYNTAX } from './map-syntax.ts'
import { openInputs } from './open-inputs.ts'
import { openMapPool } from './open-map-pool.ts'
import { openResults } from './open-results.ts'

/** Runs the command and gives its exit code. */
export async function mapCommand(args: readonly string[]): Promise<number> {
  const settings = parseMapOptions(args)
  if (settings === undefined) {
    process.stdout.write(renderHelp(MAP_SYNTAX))
    return EXIT_OK
  }
  const location = locateTask(settings.reference)
  // Whatever is wrong with the function is said here once, and not by every worker.
  const task = await loadTask(location)
  const source = await openInputs(settings.input)
  const results = await openResults(settings)
  const inputs = new MapInputs(source, settings.input, results.finished)
  const pool = openMapPool(settings, { location, task })
  return await new MapRun(settings, { pool, inputs, results }).run()
}
