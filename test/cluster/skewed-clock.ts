/**
 * Preloaded by programs whose clock is to be wrong, by as many milliseconds as CLOCK_OFFSET_MS says. Their children have it
 * in their environment as well.
 */
import { setClock } from './wrong-clock.js'

setClock(Number(process.env['CLOCK_OFFSET_MS']))
