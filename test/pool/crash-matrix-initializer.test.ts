/** The crash matrix: what can go wrong in the initializer of workers. */
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'
import { crashesOfInitializers } from './crash-matrix.js'

checkLeaks()
forEachStartMethod(crashesOfInitializers)
