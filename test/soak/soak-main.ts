/** Started by scripts/soak.mjs, with the options as JSON. It ends when that does. */
import { runSoak, type SoakOptions } from './run-soak.js'

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
process.channel?.unref()
const violations = await runSoak(JSON.parse(process.argv[2]!) as SoakOptions)
process.exit(violations > 0 ? 1 : 0)
