/** Children that share the heap with the tests of this folder. */
import { Process, type StartMethod } from 'multiproc'

/** Every start method. Without the addon, processes reach the heap through its broker. */
export const sharingMethods: StartMethod[] = ['spawn', 'thread']

/** Starts a child that runs the target with these arguments. */
export function start<Args extends unknown[], Result>(
  context: StartMethod,
  target: (...args: Args) => Result,
  ...args: Args
): Process<Args, Result> {
  const child = new Process<Args, Result>({ target, args, context, daemon: true })
  child.start()
  return child
}

/** Runs the target in a child to its end, and gives its result. */
export async function call<Args extends unknown[], Result>(
  context: StartMethod,
  target: (...args: Args) => Result,
  ...args: Args
): Promise<Awaited<Result>> {
  const child = start(context, target, ...args)
  const result = await child.result()
  await child.join()
  return result
}

/** Kills a child as nothing else can, and waits for its end. */
export async function killed(child: Process<never>): Promise<void> {
  child.kill()
  await child.join()
}
