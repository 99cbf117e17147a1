/**
 * What the user of the command line got wrong: printed without a stack, exit code 2. Its message follows the rule of
 * all messages of this library: what and why, then `To fix:`.
 */
export class UsageError extends Error {
  override name = 'UsageError'
}
