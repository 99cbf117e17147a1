/** `for await (const item of queue)`, the same for every kind of queue. */

/**
 * Gives what `get` gives until it throws because there is no more.
 *
 * @param hasEnded - whether an `ERR_CLOSED` is the end of the queue; any other is an error of the loop
 */
export async function* iterateItems<T>(
  get: () => Promise<T>,
  hasEnded: () => boolean,
): AsyncGenerator<T, void, undefined> {
  for (;;) {
    let item: T
    try {
      item = await get()
    } catch (error) {
      if (hasEnded() && (error as { code?: string }).code === 'ERR_CLOSED') return
      throw error
    }
    yield item
  }
}
