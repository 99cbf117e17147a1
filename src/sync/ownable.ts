/** What a Condition needs of its lock besides acquiring it: how often this thread holds it, and to change that. */

/** How many levels of the lock this thread holds. Setting it to 0 gives all of them back; otherwise it is held. */
export const LEVELS: unique symbol = Symbol('levels')

export interface Ownable {
  [LEVELS]: number
}
