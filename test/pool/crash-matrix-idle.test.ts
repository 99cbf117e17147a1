/** The crash matrix: what can go wrong in workers that are idle. */
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'
import { crashesOfIdleWorkers } from './crash-matrix.js'

checkLeaks()
forEachStartMethod(crashesOfIdleWorkers)
