/** The crash matrix: what can go wrong with an item in workers that are threads. */
import { checkLeaks } from '../leak-check.js'
import { crashesOfItems } from './crash-matrix.js'

checkLeaks()
crashesOfItems('thread')
