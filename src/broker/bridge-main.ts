/** The first module of a bridge's thread. */
import { runBridge } from './bridge-thread.ts'

runBridge()
