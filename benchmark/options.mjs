// The command line of the benchmark: what may be asked for, and the errors for what may not.
import { parseArgs } from 'node:util'
import { libraries } from './libraries/all-libraries.mjs'
import { groups, rows } from './rows/all-rows.mjs'

const usage = `npm run benchmark -- [options]

  --rounds <n>          how often every library is measured in every row (default 3; 1 with --quick)
  --group <name>        ${Object.keys(groups).join(' or ')}: rows of one machine, or of a cluster; both when absent
  --only <row,row>      these rows only: ${rows.map(({ id }) => id).join(', ')}
  --libraries <a,b>     libraries whose name contains one of these only, e.g. multiproc,piscina,python
  --quick               tiny sizes, to see that everything runs; its figures mean nothing
  --out <directory>     where the report goes (default benchmark/results)
  --help                this text

The environment variable PYTHON names another Python than the python3 of the PATH.`

export class UsageError extends Error {}

function selectRows(ids) {
  if (ids === undefined) return rows
  const wanted = ids.split(',')
  const unknown = wanted.filter(id => !rows.some(row => row.id === id))
  if (unknown.length > 0) {
    throw new UsageError(
      `Cannot measure only "${unknown.join(', ')}": there is no such row\nTo fix: choose from ${rows.map(({ id }) => id).join(', ')}`,
    )
  }
  return rows.filter(({ id }) => wanted.includes(id))
}

function selectGroups(name) {
  if (name === undefined) return Object.keys(groups)
  if (groups[name] === undefined) {
    throw new UsageError(`"--group" must be one of ${Object.keys(groups).join(', ')}, not "${name}"`)
  }
  return [name]
}

function selectLibraries(parts) {
  if (parts === undefined) return libraries
  const wanted = parts.toLowerCase().split(',')
  const matches = (library, part) => library.name.toLowerCase().includes(part)
  const unknown = wanted.filter(part => !libraries.some(library => matches(library, part)))
  if (unknown.length > 0) {
    throw new UsageError(
      `Cannot measure the libraries "${unknown.join(', ')}": no name contains that\nTo fix: choose from ${libraries.map(({ name }) => `"${name}"`).join(', ')}`,
    )
  }
  return libraries.filter(library => wanted.some(part => matches(library, part)))
}

function parseRounds(text, isQuick) {
  if (text === undefined) return isQuick ? 1 : 3
  const rounds = Number(text)
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new UsageError(`"--rounds" must be a whole number of at least 1, not "${text}"`)
  }
  return rounds
}

/** The options as the runner takes them, or `{ help }` when that is all that was asked for. */
export function parseOptions(argv) {
  let values
  try {
    ;({ values } = parseArgs({
      args: argv,
      options: {
        rounds: { type: 'string' },
        group: { type: 'string' },
        only: { type: 'string' },
        libraries: { type: 'string' },
        quick: { type: 'boolean', default: false },
        out: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }))
  } catch (error) {
    throw new UsageError(`${error.message}\n\n${usage}`)
  }
  if (values.help) return { help: usage }
  return {
    rounds: parseRounds(values.rounds, values.quick),
    groups: selectGroups(values.group),
    rows: selectRows(values.only),
    libraries: selectLibraries(values.libraries),
    isQuick: values.quick,
    isPartial: values.only !== undefined || values.libraries !== undefined,
    out: values.out,
  }
}
