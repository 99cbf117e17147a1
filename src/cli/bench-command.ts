/** `multiproc bench`: a quick measurement of this machine. Exit code 1 when something could not be measured. */
import { machineFacts } from '../platform/machine-facts.ts'
import { nativeStatus } from '../platform/native-addon.ts'
import { BENCH_SYNTAX } from './bench-syntax.ts'
import { renderHelp } from './command-syntax.ts'
import { EXIT_FAILED, EXIT_OK } from './exit-codes.ts'
import { MEASURES, type Measurement } from './measure-machine.ts'
import { packageVersion } from './package-version.ts'
import { parseCount, parseOptions } from './parse-options.ts'
import { UsageError } from './usage-error.ts'

const SECONDS_MAX = 60

/** Runs the command and gives its exit code. */
export async function benchCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(BENCH_SYNTAX, args)
  if (values.help === true) {
    process.stdout.write(renderHelp(BENCH_SYNTAX))
    return EXIT_OK
  }
  if (positionals.length > 0) {
    throw new UsageError(
      `"multiproc bench" takes no inputs, but got "${positionals[0]}"\nTo fix: leave it out`,
    )
  }
  const seconds = parseCount('seconds', values.seconds) ?? 1
  if (seconds > SECONDS_MAX) {
    throw new UsageError(
      `--seconds must be at most ${SECONDS_MAX}, but it is ${seconds}\nTo fix: pass fewer, or use the benchmarks of the repository`,
    )
  }
  const { cpus, platform, arch } = machineFacts()
  const isNative = nativeStatus().isOn
  const facts = {
    version: packageVersion(),
    node: process.versions.node,
    platform,
    arch,
    cpus: cpus.usable,
    isNative,
  }
  const isJson = values.json === true
  if (!isJson) {
    process.stdout.write(
      `multiproc ${facts.version}, Node.js ${facts.node}, ${platform} ${arch}, ${cpus.usable} CPUs, native addon ${isNative ? 'used' : 'not used'}\n\n`,
    )
  }
  const results: Measurement[] = []
  const errors: string[] = []
  for (const measure of MEASURES) {
    try {
      const measured = await measure(seconds * 1000)
      results.push(...measured)
      // Each as soon as it is there: the whole takes some seconds.
      if (!isJson) process.stdout.write(measured.map(describe).join(''))
    } catch (error) {
      errors.push(error instanceof Error ? error.message : String(error))
    }
  }
  if (isJson) {
    const values = Object.fromEntries(results.map(({ name, value }) => [name, value]))
    process.stdout.write(`${JSON.stringify({ ...facts, results: values, errors }, null, 2)}\n`)
  }
  for (const error of errors) {
    process.stderr.write(`multiproc: could not measure: ${error}\nTo fix: see what "multiproc doctor" says\n`)
  }
  return errors.length === 0 ? EXIT_OK : EXIT_FAILED
}

function describe({ title, value, unit }: Measurement): string {
  const text = value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
  return `${title.padEnd(20)}${text.padStart(12)} ${unit}\n`
}
