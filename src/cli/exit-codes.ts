/** The exit codes of the program. They are part of its interface: scripts ask for them. */

export const EXIT_OK = 0
/** Items failed, or the run could not be finished. */
export const EXIT_FAILED = 1
/** The command line is wrong, or names something that cannot be loaded. */
export const EXIT_USAGE = 2
/** `multiproc run --timeout` has ended its process, as timeout(1) does. */
export const EXIT_TIMEOUT = 124
