/** The crash matrix: what can go wrong with an item in workers that are processes. */
import { checkLeaks } from '../leak-check.js'
import { crashesOfItems } from './crash-matrix.js'

checkLeaks()
crashesOfItems('spawn')
