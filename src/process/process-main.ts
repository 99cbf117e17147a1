/** The main file of a child of `Process`. */
import { runChild } from './run-child.ts'

void runChild()
