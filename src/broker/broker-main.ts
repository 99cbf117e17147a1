/** The first module of a broker's thread. */
import { runBroker } from './broker.ts'

runBroker()
