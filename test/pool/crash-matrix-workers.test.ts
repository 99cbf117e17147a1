/** The crash matrix: what can go wrong in workers that have no item, because they start or are idle. */
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'
import { crashesOfWorkers } from './crash-matrix.js'

checkLeaks()
forEachStartMethod(crashesOfWorkers)
